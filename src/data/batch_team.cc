// SPDX-License-Identifier: Apache-2.0
// One mutex and one condition for everything: batches take about a second each.
#include "data/batch_team.h"

#include <utility>

namespace mixtral::data {

BatchTeam::BatchTeam(int n_workers, std::function<void(const RawBatch&)> work)
    : work_(std::move(work)), max_waiting_(static_cast<size_t>(n_workers)) {
  for (int i = 0; i < n_workers; ++i) threads_.emplace_back([this] { Run(); });
}

BatchTeam::~BatchTeam() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BatchTeam::RethrowLocked() {
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void BatchTeam::Push(RawBatch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.size() < max_waiting_ || failure_; });
  RethrowLocked();
  queue_.push_back(std::move(batch));
  changed_.notify_all();
}

void BatchTeam::Finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (queue_.empty() && n_busy_ == 0) || failure_; });
  RethrowLocked();
}

void BatchTeam::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !queue_.empty() || is_ending_; });
    if (is_ending_) return;
    const RawBatch batch = std::move(queue_.front());
    queue_.pop_front();
    ++n_busy_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      work_(batch);
    } catch (...) {  // handed to the caller's thread
      failure = std::current_exception();
    }
    lock.lock();
    --n_busy_;
    if (failure && !failure_) failure_ = failure;
    if (failure_) queue_.clear();
    changed_.notify_all();
  }
}

}  // namespace mixtral::data

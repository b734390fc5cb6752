// SPDX-License-Identifier: Apache-2.0
// The doors of the service: what may come in is checked and queued under a lock, and one thread
// carries it to the loop that computes.
#include "engine/service.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/service_loop.h"
#include "engine/service_options.h"

namespace mixtral {

class Service::Impl {
 public:
  Impl(Engine* engine, const ServiceOptions& options, ForwardFunction forward)
      : engine_(engine),
        options_(FillOptions(*engine, options, FreeMemory())),
        loop_(engine, options_, std::move(forward)) {
    loop_.on_stats = [this] { Publish(); };
    Publish();
    thread_ = std::thread([this] { Run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    news_.notify_one();
    thread_.join();
  }

  SubmitResult Submit(ServiceRequest request, ServiceCallback callback, RequestId* id) {
    CheckRequest(*engine_, options_, request);
    // The model's own number of experts, however it is asked for, has one prefix cache.
    if (request.policy.k == engine_->config().experts_per_token) request.policy.k = 0;
    const auto n_tokens = std::ssize(request.prompt);
    auto live = std::make_unique<LiveRequest>(0, std::move(request), std::move(callback));
    {
      const std::lock_guard lock(mutex_);
      if (draining_ || ending_) return SubmitResult::kDraining;
      if (n_queued_ >= options_.max_queued ||
          (n_queued_ > 0 && queued_tokens_ + n_tokens > options_.max_queued_tokens))
        return SubmitResult::kQueueFull;
      ++n_queued_;
      queued_tokens_ += n_tokens;
      live->id = ++last_id_;
      *id = live->id;
      inbox_.push_back(std::move(live));
    }
    news_.notify_one();
    return SubmitResult::kAccepted;
  }

  void Cancel(RequestId id) {
    {
      const std::lock_guard lock(mutex_);
      cancelled_.push_back(id);
    }
    news_.notify_one();
  }

  void Drain() {
    const std::lock_guard lock(mutex_);
    draining_ = true;
  }

  ServiceStats Stats() const {
    const std::lock_guard lock(mutex_);
    ServiceStats stats = stats_;
    stats.waiting += std::ssize(inbox_);
    return stats;
  }

  const ServiceOptions& options() const { return options_; }
  size_t CacheBytes() const { return loop_.CacheBytes(); }

 private:
  void Run() {
    std::vector<std::unique_ptr<LiveRequest>> arrived;
    std::vector<RequestId> cancelled;
    for (;;) {
      bool ending = false;
      {
        std::unique_lock lock(mutex_);
        news_.wait(lock, [this] {
          return ending_ || !inbox_.empty() || !cancelled_.empty() || loop_.HasWork();
        });
        arrived.swap(inbox_);
        cancelled.swap(cancelled_);
        ending = ending_;
      }
      for (auto& request : arrived) loop_.Add(std::move(request));
      arrived.clear();
      for (const RequestId id : cancelled) loop_.Cancel(id);
      cancelled.clear();
      if (ending) {
        loop_.CancelAll();
        return;
      }
      if (loop_.HasWork()) loop_.Step();
      Publish();
    }
  }

  void Publish() {
    const ServiceLoop::Begun begun = loop_.TakeBegun();
    ServiceStats stats = loop_.Stats();
    const std::lock_guard lock(mutex_);
    n_queued_ -= begun.requests;
    queued_tokens_ -= begun.tokens;
    stats_ = std::move(stats);
  }

  Engine* engine_;
  const ServiceOptions options_;
  ServiceLoop loop_;  // the thread's, but for what never changes
  mutable std::mutex mutex_;
  std::condition_variable news_;
  // under mutex_
  std::vector<std::unique_ptr<LiveRequest>> inbox_;
  std::vector<RequestId> cancelled_;
  int64_t n_queued_ = 0, queued_tokens_ = 0;  // of requests that have not begun
  RequestId last_id_ = 0;
  bool draining_ = false, ending_ = false;
  ServiceStats stats_;
  std::thread thread_;
};

Service::Service(Engine* engine, const ServiceOptions& options)
    : Service(engine, options,
              [engine](const Batch& batch, KvCache& kv, const ForwardOutput& output,
                       ForwardObserver* observer) {
                engine->transformer().Forward(batch, kv, output, observer);
              }) {}
Service::Service(Engine* engine, const ServiceOptions& options, ForwardFunction forward)
    : impl_(std::make_unique<Impl>(engine, options, std::move(forward))) {}
Service::~Service() = default;

SubmitResult Service::Submit(ServiceRequest request, ServiceCallback callback, RequestId* id) {
  return impl_->Submit(std::move(request), std::move(callback), id);
}
void Service::Cancel(RequestId id) { impl_->Cancel(id); }
void Service::Drain() { impl_->Drain(); }
ServiceStats Service::Stats() const { return impl_->Stats(); }
const ServiceOptions& Service::options() const { return impl_->options(); }
size_t Service::CacheBytes() const { return impl_->CacheBytes(); }

}  // namespace mixtral

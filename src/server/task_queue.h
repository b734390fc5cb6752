// SPDX-License-Identifier: Apache-2.0
// One worker thread and the tasks that wait for it: reading bodies and tokenizing, so that the I/O
// thread never stands still.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mixtral::server {

class TaskQueue {
 public:
  TaskQueue() : thread_([this] { Work(); }) {}
  /// Waits for the task that runs; those that wait are dropped.
  ~TaskQueue() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  /// task must not throw. Any thread.
  void Push(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    ready_.notify_one();
  }

 private:
  void Work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return is_stopping_ || !tasks_.empty(); });
      if (is_stopping_) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  bool is_stopping_ = false;
  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace mixtral::server

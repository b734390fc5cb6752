// SPDX-License-Identifier: Apache-2.0
// Threads that tokenise batches of rows while the caller reads on. Used by Prepare alone.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "data/row_reader.h"

namespace mixtral::data {

struct RawBatch {
  uint64_t batch_idx = 0;
  std::vector<RawRow> rows;
};

class BatchTeam {
 public:
  /// work is called from n_workers threads; what it throws comes out of Push or Finish.
  BatchTeam(int n_workers, std::function<void(const RawBatch&)> work);
  /// Batches that nobody has begun are dropped.
  ~BatchTeam();
  BatchTeam(const BatchTeam&) = delete;
  BatchTeam& operator=(const BatchTeam&) = delete;

  void Push(RawBatch batch);  // waits while enough is waiting
  void Finish();              // waits until all is done

 private:
  void Run();
  void RethrowLocked();

  std::function<void(const RawBatch&)> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RawBatch> queue_;
  size_t max_waiting_, n_busy_ = 0;
  bool is_ending_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace mixtral::data

// SPDX-License-Identifier: Apache-2.0
// OpenBLAS comes with threads of its own (Debian's -pthread) or on OpenMP's, as LibTorch's are
// (-openmp). Threads of its own and LibTorch's wait for work by spinning, and take each other's
// processors. No LibTorch here. Used by expert_kernel.cc and commands.cc.
#pragma once

namespace mixtral::train {

/// True for OpenBLAS with threads of its own; false for every other BLAS.
bool BlasHasOwnThreads();

/// While it lives, such a BLAS computes on the calling thread alone.
class OneBlasThread {
 public:
  OneBlasThread();
  ~OneBlasThread();
  OneBlasThread(const OneBlasThread&) = delete;
  OneBlasThread& operator=(const OneBlasThread&) = delete;

 private:
  int before_ = 0;  // threads to go back to; 0: nothing was changed
};

/// Threads for LibTorch when nobody said how many: all processors that this process may use, shared
/// by the processes on this machine (LOCAL_WORLD_SIZE or WORLD_SIZE); 1 beside a BLAS with threads
/// of its own. 0: OMP_NUM_THREADS says it.
int DefaultThreads();

}  // namespace mixtral::train

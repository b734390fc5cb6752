// SPDX-License-Identifier: Apache-2.0
// OpenBLAS's functions are looked up by name, because which BLAS there is depends on the machine.
#include "train/blas_threads.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace mixtral::train {
namespace {

template <typename Function>
Function* Find(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

/// A positive number in an environment variable, or 0.
int Number(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? 0 : std::max(0, std::atoi(text));
}

}  // namespace

bool BlasHasOwnThreads() {
  constexpr int kOwn = 1;  // 0: none, 2: OpenMP's
  auto* const kind = Find<int()>("openblas_get_parallel");
  return kind != nullptr && kind() == kOwn;
}

OneBlasThread::OneBlasThread() {
  auto* const count = Find<int()>("openblas_get_num_threads");
  auto* const set = Find<void(int)>("openblas_set_num_threads");
  if (!BlasHasOwnThreads() || count == nullptr || set == nullptr) return;
  before_ = count();
  set(1);
}

OneBlasThread::~OneBlasThread() {
  if (before_ > 0) Find<void(int)>("openblas_set_num_threads")(before_);
}

int DefaultThreads() {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return 0;
  if (BlasHasOwnThreads()) return 1;
  const int local = Number("LOCAL_WORLD_SIZE");
  const int processes = std::max(1, local > 0 ? local : Number("WORLD_SIZE"));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / processes);
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// One persistent team of threads. Run hands out tiles by an atomic counter and the caller takes
// part, so a team of one starts no thread. Used by backend/cpu alone; kernels never see a thread.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace mixtral {

/// A non-owning reference to a noexcept callable `void(int tile, int worker)`; never allocates.
class TileFn {
 public:
  template <class Fn>
  requires(!std::is_same_v<std::remove_cvref_t<Fn>, TileFn>)
      TileFn(Fn&& fn)  // NOLINT(google-explicit-constructor): taken where a lambda is written
      : object_(const_cast<void*>(static_cast<const void*>(&fn))),
        call_([](void* object, int tile, int worker) noexcept {
          (*static_cast<std::remove_reference_t<Fn>*>(object))(tile, worker);
        }) {}
  void operator()(int tile, int worker) const noexcept { call_(object_, tile, worker); }

 private:
  void* object_;
  void (*call_)(void*, int, int) noexcept;
};

/// Threads that this process may really use: CPU affinity and cgroup CPU quota (v1 and v2), at
/// least 1.
int AvailableCpus();

class ThreadPool {
 public:
  /// n_threads >= 1 counts the caller. Workers spin at most 50 us between jobs, then sleep on an
  /// atomic; they do not spin at all when n_threads > AvailableCpus().
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;
  /// Calls fn(tile, worker) once for every tile in [0, n_tiles), worker in [0, n_threads); returns
  /// when all are done. One tile owns each output element, so results never depend on the number of
  /// threads. Not re-entrant; one caller.
  void Run(int n_tiles, TileFn fn);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mixtral

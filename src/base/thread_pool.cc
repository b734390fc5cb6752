// SPDX-License-Identifier: Apache-2.0
// The team. One atomic counter, `remaining`, is the whole protocol: it holds the number of tiles
// not yet claimed, a worker claims one by counting it down, and workers sleep while it is 0.
//
// Why this is safe: a claim succeeds only on a positive counter, and the caller publishes a new job
// only when every tile of the last one is done, so whoever holds a tile reads the job that it
// belongs to. A worker that wakes late finds 0 and touches nothing; Run never waits for it.
#include "base/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {
namespace {

constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kStop = -1;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// True as soon as ready() is; false after kSpinTime without it.
template <class Ready>
bool SpinUntil(Ready&& ready) {
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

/// While alive, threads that this one starts do not receive the signals that people and terminals
/// send: those are for the main thread.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) {
      sigaddset(&blocked, signal);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, &previous_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t previous_{};
};

}  // namespace

struct ThreadPool::State {
  // Each counter on its own cache line: workers hammer the first, the caller watches the second.
  alignas(64) std::atomic<int> remaining{0};  // tiles not yet claimed, or kStop
  alignas(64) std::atomic<int> done{0};       // tiles finished
  alignas(64) const TileFn* fn = nullptr;     // the job; written only when nobody holds a tile
  int n_tiles = 0;
  bool spin = false;
  std::vector<std::thread> threads;

  ~State() {
    remaining.store(kStop);
    remaining.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  // The thin adapter around std::thread, which throws when the system has no more threads.
  void Start(int n_workers) {
    const BlockSignals block;
    try {
      for (int worker = 1; worker <= n_workers; ++worker) {
        threads.emplace_back([this, worker] { WorkerLoop(worker); });
      }
    } catch (const std::system_error& error) {
      Throw(ErrorCode::kOutOfMemory, "threads: expected to start {}, found {} possible: {}",
            n_workers + 1, threads.size() + 1, error.what());
    }
  }

  // Claims and runs tiles until none is left unclaimed.
  void RunTiles(int worker) noexcept {
    int finished = 0;
    int left = remaining.load(std::memory_order_relaxed);
    while (left > 0) {
      // acquire: with the claim come the job's fields, published before the counter.
      if (!remaining.compare_exchange_weak(left, left - 1, std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
        continue;
      }
      (*fn)(n_tiles - left, worker);
      ++finished;
      left = remaining.load(std::memory_order_relaxed);
    }
    if (finished == 0) return;
    // Sequentially consistent, like the store in Run: the check for sleepers inside notify must not
    // move before it, or a caller just going to sleep would be missed. The job's size is read
    // first: once done is complete, the caller may start another job.
    const int total = n_tiles;
    if (done.fetch_add(finished) + finished == total) done.notify_one();
  }

  void WorkerLoop(int worker) noexcept {
    while (true) {
      const auto job = [this] { return remaining.load(std::memory_order_relaxed) != 0; };
      if (!spin || !SpinUntil(job)) remaining.wait(0, std::memory_order_relaxed);
      if (remaining.load(std::memory_order_relaxed) == kStop) return;
      RunTiles(worker);
    }
  }

  void WaitUntilDone() noexcept {
    const auto complete = [this] { return done.load(std::memory_order_acquire) == n_tiles; };
    if (spin && SpinUntil(complete)) return;
    for (int seen; (seen = done.load(std::memory_order_acquire)) != n_tiles;) {
      done.wait(seen, std::memory_order_acquire);
    }
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()) {
  Check(n_threads >= 1, "a team needs at least one thread");
  state_->spin = n_threads <= AvailableCpus();
  state_->Start(n_threads - 1);
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::n_threads() const { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::Run(int n_tiles, TileFn fn) {
  State& state = *state_;
  if (n_tiles <= 1 || state.threads.empty()) {
    for (int tile = 0; tile < n_tiles; ++tile) fn(tile, 0);
    return;
  }
  state.fn = &fn;
  state.n_tiles = n_tiles;
  state.done.store(0, std::memory_order_relaxed);
  // Sequentially consistent: notify_all looks for sleepers after the store, never before.
  state.remaining.store(n_tiles);
  state.remaining.notify_all();
  state.RunTiles(0);
  state.WaitUntilDone();
}

}  // namespace mixtral

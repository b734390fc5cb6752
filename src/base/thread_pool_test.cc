// SPDX-License-Identifier: Apache-2.0
// Tests of the team: every tile exactly once, whatever the number of threads; worth running under
// the thread sanitizer above all.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace mixtral {
namespace {

TEST(ThreadPoolTest, RunsEveryTileOnce) {
  for (const int n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    EXPECT_EQ(pool.n_threads(), n_threads);
    for (const int n_tiles : {0, 1, 2, 3, 7, 1000}) {
      std::vector<int> runs(n_tiles, 0);  // not atomic: a tile is owned by whoever runs it
      std::atomic<int> bad_workers{0};
      pool.Run(n_tiles, [&](int tile, int worker) {
        ++runs[tile];
        if (worker < 0 || worker >= n_threads) ++bad_workers;
      });
      EXPECT_EQ(runs, std::vector<int>(n_tiles, 1)) << n_threads << " threads, " << n_tiles;
      EXPECT_EQ(bad_workers, 0);
    }
  }
}

TEST(ThreadPoolTest, EveryThreadHasItsOwnWorkerNumber) {
  ThreadPool pool(4);
  std::vector<std::thread::id> owner(4);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> started{0};
    std::vector<int> tiles_of(4, 0);
    pool.Run(4, [&](int, int worker) {
      ++started;
      while (started < 4) std::this_thread::yield();  // so every thread has one tile
      ++tiles_of[worker];
      if (owner[worker] == std::thread::id()) owner[worker] = std::this_thread::get_id();
      EXPECT_EQ(owner[worker], std::this_thread::get_id());
    });
    EXPECT_EQ(tiles_of, std::vector<int>(4, 1));
  }
  EXPECT_EQ(owner[0], std::this_thread::get_id());
}

TEST(ThreadPoolTest, ResultsOfOneJobAreSeenByTheNext) {
  ThreadPool pool(3);
  std::vector<int64_t> values(100, 1);
  for (int round = 0; round < 2000; ++round) {
    pool.Run(100, [&](int tile, int) { ++values[tile]; });
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}), 100 * 2001);
}

TEST(ThreadPoolTest, MoreThreadsThanCpusStillFinish) {
  ThreadPool pool(4 * AvailableCpus() + 1);
  int64_t sum = 0;
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> count{0};
    pool.Run(5, [&](int, int) { ++count; });
    sum += count;
  }
  EXPECT_EQ(sum, 1000);
}

TEST(ThreadPoolTest, SleepingTeamWakesUp) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // beyond the spinning
    // Both threads must take part: each tile waits for the other one to start.
    std::atomic<int> started{0};
    pool.Run(2, [&](int, int) {
      ++started;
      while (started < 2) std::this_thread::yield();
    });
    EXPECT_EQ(started, 2);
  }
}

TEST(ThreadPoolTest, CallerWaitsForASlowTile) {
  ThreadPool pool(2);
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> started{0};
    int results[2] = {0, 0};
    pool.Run(2, [&](int tile, int worker) {
      ++started;
      while (started < 2) std::this_thread::yield();
      if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      results[tile] = tile + 1;
    });
    EXPECT_EQ(results[0] + results[1], 3);
  }
}

TEST(ThreadPoolTest, TeamsComeAndGo) {
  std::atomic<int> count{0};
  for (int round = 0; round < 50; ++round) {
    ThreadPool unused(3);
    ThreadPool pool(3);
    pool.Run(3, [&](int, int) { ++count; });
  }
  EXPECT_EQ(count, 150);
}

TEST(ThreadPoolTest, WorkersLeaveCtrlCToTheMainThread) {
  ThreadPool pool(2);
  std::atomic<int> started{0};
  pool.Run(2, [&](int, int worker) {
    ++started;
    while (started < 2) std::this_thread::yield();
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    EXPECT_EQ(sigismember(&blocked, SIGINT), worker == 0 ? 0 : 1);
  });
}

TEST(ThreadPoolTest, AtLeastOneCpuIsAvailable) {
  EXPECT_GE(AvailableCpus(), 1);
  EXPECT_LE(AvailableCpus(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// The bar and the plain lines, by a clock of the test's own.
#include "cli/progress.h"

#include <gtest/gtest.h>

#include <vector>

namespace mixtral::cli {
namespace {

using Clock = ProgressSink::Clock;

struct Watch {
  Clock::time_point now{};
  int columns = 80;
  std::vector<std::string> written;

  ProgressSink Sink(bool is_terminal) {
    return {.is_terminal = is_terminal,
            .columns = [this] { return columns; },
            .write = [this](std::string_view text) { written.emplace_back(text); },
            .now = [this] { return now; }};
  }
  void Pass(int milliseconds) { now += std::chrono::milliseconds(milliseconds); }
};

TEST(Progress, NothingWithinTheFirstSecond) {
  for (const bool is_terminal : {false, true}) {
    Watch watch;
    {
      Progress progress("reading", "tokens", watch.Sink(is_terminal));
      for (int i = 0; i < 9; ++i) {
        watch.Pass(100);
        progress.Update(i, 100);
      }
    }
    EXPECT_TRUE(watch.written.empty());
  }
}

TEST(Progress, ABarWithRateAndTimeLeft) {
  Watch watch;
  watch.columns = 100;
  Progress progress("reading", "tokens", watch.Sink(true));
  watch.Pass(2000);
  progress.Update(50, 200);
  ASSERT_EQ(watch.written.size(), 1u);
  EXPECT_EQ(watch.written[0],
            "\rreading  [#######.......................]  25%  50/200 tokens, 25.0 tokens/s, 0:06 "
            "left\x1b[K");
}

TEST(Progress, AtMostTenRenewalsASecond) {
  Watch watch;
  Progress progress("reading", "tokens", watch.Sink(true));
  watch.Pass(1000);
  for (int i = 0; i < 1000; ++i) {
    progress.Update(i, 2000);
    watch.Pass(1);
  }
  EXPECT_EQ(watch.written.size(), 10u);
}

TEST(Progress, TheLineNeverWraps) {
  Watch watch;
  Progress progress("reading the prompt", "tokens", watch.Sink(true));
  for (watch.columns = 0; watch.columns < 200; ++watch.columns) {
    watch.Pass(1000);
    progress.Update(1000, 100000);
    const std::string& line = watch.written.back();
    ASSERT_TRUE(line.starts_with("\r") && line.ends_with("\x1b[K"));
    EXPECT_LE(static_cast<int>(line.size()) - 4, std::max(watch.columns - 1, 0));
  }
}

TEST(Progress, ErasedAtTheEndAndOnRequest) {
  Watch watch;
  {
    Progress progress("reading", "tokens", watch.Sink(true));
    watch.Pass(1500);
    progress.Update(1, 3);
    progress.Clear();
    EXPECT_EQ(watch.written.back(), "\r\x1b[K");
    progress.Clear();
    EXPECT_EQ(watch.written.size(), 2u);
    watch.Pass(1500);
    progress.Update(2, 3);
  }
  EXPECT_EQ(watch.written.size(), 4u);
  EXPECT_EQ(watch.written.back(), "\r\x1b[K");
}

TEST(Progress, PlainLinesElsewhere) {
  Watch watch;
  {
    Progress progress("hashing", "B", watch.Sink(false));
    for (int i = 0; i < 12; ++i) {
      watch.Pass(1000);
      progress.Update(int64_t{i} * 1'000'000, 20'000'000);
    }
  }
  EXPECT_EQ(watch.written,
            (std::vector<std::string>{"hashing: 4.00 MB/20.00 MB, 800.00 kB/s, 0:20 left\n",
                                      "hashing: 9.00 MB/20.00 MB, 900.00 kB/s, 0:13 left\n"}));
}

TEST(Progress, UnknownTotal) {
  Watch watch;
  Progress progress("reading", "lines", watch.Sink(true));
  watch.Pass(2000);
  progress.Update(10, 0);
  EXPECT_EQ(watch.written.back(), "\rreading  10 lines, 5.0 lines/s\x1b[K");
}

TEST(ShownDuration, MinutesAndHours) {
  EXPECT_EQ(ShownDuration(0), "0:00");
  EXPECT_EQ(ShownDuration(6.2), "0:07");
  EXPECT_EQ(ShownDuration(754), "12:34");
  EXPECT_EQ(ShownDuration(10921), "3:02:01");
}

}  // namespace
}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Tests of log levels, the settable sink and the default one.
#include "base/log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace mixtral {
namespace {

class LogTest : public testing::Test {
 protected:
  void TearDown() override {
    SetLogSink(nullptr);
    SetLogLevel(LogLevel::kWarn);
  }
  void Capture() {
    SetLogSink([this](LogLevel level, std::string_view line) {
      lines_.push_back(std::to_string(static_cast<int>(level)) + " " + std::string(line));
    });
  }
  std::vector<std::string> lines_;
};

TEST_F(LogTest, InfoAndDebugAreOffByDefault) {
  Capture();
  Log(LogLevel::kError, "e {}", 1);
  Log(LogLevel::kWarn, "w {}", 2);
  Log(LogLevel::kInfo, "i {}", 3);
  LogLine(LogLevel::kDebug, "d");
  EXPECT_EQ(lines_, (std::vector<std::string>{"0 e 1", "1 w 2"}));
}

TEST_F(LogTest, LevelOpensAndCloses) {
  Capture();
  SetLogLevel(LogLevel::kDebug);
  Log(LogLevel::kDebug, "d");
  SetLogLevel(LogLevel::kError);
  Log(LogLevel::kWarn, "w");
  EXPECT_EQ(GetLogLevel(), LogLevel::kError);
  EXPECT_EQ(lines_, (std::vector<std::string>{"3 d"}));
}

TEST_F(LogTest, DefaultSinkWritesOneLineToStandardError) {
  testing::internal::CaptureStderr();
  LogLine(LogLevel::kWarn, "a {brace} stays");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("mixtral: "), std::string::npos);
  EXPECT_NE(text.find("warning"), std::string::npos);
  EXPECT_NE(text.find("a {brace} stays\n"), std::string::npos);
}

TEST_F(LogTest, LinesFromManyThreadsReachTheSinkOneByOne) {
  std::atomic<int> inside{0}, overlaps{0}, lines{0};
  SetLogSink([&](LogLevel, std::string_view) {
    if (++inside > 1) ++overlaps;
    std::this_thread::yield();  // invites another thread in
    --inside;
    ++lines;
  });
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) Log(LogLevel::kWarn, "x");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines, 2000);
  EXPECT_EQ(overlaps, 0);
}

}  // namespace
}  // namespace mixtral

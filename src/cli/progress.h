// SPDX-License-Identifier: Apache-2.0
// How far a long step has come: a bar with rate and time left on a terminal, plain lines elsewhere,
// nothing for steps that take less than a second. Knows no command; any program may use it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mixtral::cli {

/// Where a Progress writes, and the clock it goes by. Tests give their own.
struct ProgressSink {
  using Clock = std::chrono::steady_clock;
  bool is_terminal = false;                     // that takes control codes
  std::function<int()> columns;                 // of the terminal, asked at every renewal
  std::function<void(std::string_view)> write;  // all of it, at once
  std::function<Clock::time_point()> now;
};
ProgressSink StandardErrorSink();

/// One step's progress. Of one thread: with workers, the one that waits for them calls Update.
class Progress {
 public:
  /// what: "reading the prompt"; unit: what is counted, "tokens", or "B" for bytes.
  explicit Progress(std::string what, std::string unit = "tokens",
                    ProgressSink sink = StandardErrorSink());
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// As often as one likes: a terminal's line is renewed at most ten times a second, and a line is
  /// printed elsewhere at most every five. total 0: nobody knows.
  void Update(int64_t done, int64_t total);
  /// Erases the bar, before something else is printed; the next Update may draw it again.
  void Clear();

 private:
  using Clock = ProgressSink::Clock;
  std::string Line(int64_t done, int64_t total, double seconds) const;

  std::string what_, unit_;
  ProgressSink sink_;
  Clock::time_point start_, last_;
  bool is_shown_ = false;
};

/// "0:07", "12:34", "3:02:01"
std::string ShownDuration(double seconds);

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// The width is asked for at every renewal, so a resized terminal needs no signal handler; what does
// not fit is cut, because a line that wraps cannot be erased.
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "cli/terminal.h"

namespace mixtral::cli {
namespace {

constexpr double kQuietSeconds = 1;       // shorter steps say nothing
constexpr double kRenewalSeconds = 0.1;   // on a terminal
constexpr double kPlainLineSeconds = 5;   // elsewhere
constexpr int kMinBar = 8, kMaxBar = 30;  // columns between the brackets
constexpr double kLongestEstimate = 100 * 3600;

void WriteStandardError(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR) return;  // there is no other place to complain
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Amount(double count, const std::string& unit) {
  return unit == "B" ? HumanBytes(static_cast<uint64_t>(std::max(count, 0.0)))
                     : fmt::format("{}", static_cast<int64_t>(count));
}

std::string Rate(double per_second, const std::string& unit) {
  if (unit == "B") return Amount(per_second, unit) + "/s";
  return fmt::format("{:.1f} {}/s", per_second, unit);
}

}  // namespace

ProgressSink StandardErrorSink() {
  return {.is_terminal = TakesControlCodes(Stream::kError),
          .columns = [] { return Columns(Stream::kError); },
          .write = &WriteStandardError,
          .now = &ProgressSink::Clock::now};
}

std::string ShownDuration(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  const int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

Progress::Progress(std::string what, std::string unit, ProgressSink sink)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      sink_(std::move(sink)),
      start_(sink_.now()),
      last_(start_) {}

Progress::~Progress() { Clear(); }

std::string Progress::Line(int64_t done, int64_t total, double seconds) const {
  const auto count = static_cast<double>(done), all = static_cast<double>(total);
  const double rate = seconds > 0 ? count / seconds : 0;
  std::string figures = Amount(count, unit_);
  if (total > 0) figures += "/" + Amount(all, unit_);
  if (unit_ != "B") figures += " " + unit_;
  figures += ", " + Rate(rate, unit_);
  const double left = rate > 0 && total > 0 ? (all - count) / rate : -1;
  if (left >= 0 && left < kLongestEstimate) figures += ", " + ShownDuration(left) + " left";
  if (!sink_.is_terminal) return fmt::format("{}: {}", what_, figures);
  const int columns = sink_.columns() - 1;  // the last one would wrap on some terminals
  const auto text_columns = static_cast<int>(what_.size() + figures.size()) + 11;
  const int bar = total > 0 ? std::min(columns - text_columns, kMaxBar) : 0;
  std::string line = what_ + "  ";
  if (bar >= kMinBar) {
    const double part = std::clamp(count / all, 0.0, 1.0);
    const auto filled = static_cast<int>(part * bar);
    line += fmt::format("[{:#<{}}{:.<{}}] {:3.0f}%  ", "", filled, "", bar - filled,
                        std::floor(part * 100));
  }
  return (line + figures).substr(0, static_cast<size_t>(std::max(columns, 0)));
}

void Progress::Update(int64_t done, int64_t total) {
  const auto now = sink_.now();
  const double since_last = std::chrono::duration<double>(now - last_).count();
  const double pause = !sink_.is_terminal ? kPlainLineSeconds
                       : is_shown_        ? kRenewalSeconds
                                          : kQuietSeconds;
  if (since_last < pause || (total > 0 && done >= total)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string line = Line(done, total, seconds);
  sink_.write(sink_.is_terminal ? fmt::format("\r{}\x1b[K", line) : line + "\n");
  is_shown_ = sink_.is_terminal;
}

void Progress::Clear() {
  if (is_shown_) sink_.write("\r\x1b[K");
  is_shown_ = false;
}

}  // namespace mixtral::cli

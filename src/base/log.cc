// SPDX-License-Identifier: Apache-2.0
// The log sink, one of the two process-wide objects of the library. spdlog (in this file alone)
// writes the default sink: standard error, coloured on a terminal.
#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace mixtral {
namespace {

using Sink = std::function<void(LogLevel, std::string_view)>;

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      return spdlog::level::debug;
  }
  return spdlog::level::err;
}

class StderrSink {
 public:
  StderrSink() : logger_("mixtral", std::make_shared<spdlog::sinks::stderr_color_sink_mt>()) {
    logger_.set_pattern("%n: %^%l%$: %v");
    logger_.set_level(spdlog::level::trace);  // base/log.h has filtered already
    logger_.flush_on(spdlog::level::trace);
  }
  void operator()(LogLevel level, std::string_view line) {
    // As an argument, never as the format: a line may hold braces.
    logger_.log(SpdlogLevel(level), "{}", line);
  }

 private:
  spdlog::logger logger_;
};

struct LogState {
  std::atomic<LogLevel> level{LogLevel::kWarn};
  std::mutex mutex;  // held while a sink runs, so that lines never mix; a sink must not log
  Sink sink;         // empty: the default
};

LogState& State() {
  static LogState state;
  return state;
}

}  // namespace

void SetLogLevel(LogLevel level) { State().level.store(level, std::memory_order_relaxed); }

LogLevel GetLogLevel() { return State().level.load(std::memory_order_relaxed); }

void SetLogSink(std::function<void(LogLevel, std::string_view line)> sink) {
  const std::scoped_lock lock(State().mutex);
  State().sink = std::move(sink);
}

void LogLine(LogLevel level, std::string_view line) {
  if (level > GetLogLevel()) return;
  const std::scoped_lock lock(State().mutex);
  if (State().sink) {
    State().sink(level, line);
    return;
  }
  static StderrSink default_sink;
  default_sink(level, line);
}

}  // namespace mixtral

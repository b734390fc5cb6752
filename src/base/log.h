// SPDX-License-Identifier: Apache-2.0
// Leveled log lines to one settable sink (standard error unless told otherwise); nothing else in
// the library prints. The sink is one of the two process-wide objects of the library.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string_view>
#include <utility>

namespace mixtral {

enum class LogLevel { kError, kWarn, kInfo, kDebug };

void SetLogLevel(LogLevel level);  // default kWarn: info and debug are off
LogLevel GetLogLevel();
/// Replaces the sink; nullptr puts the default (standard error) back. Called from any thread, one
/// line a call and one call at a time; a sink must not log.
void SetLogSink(std::function<void(LogLevel, std::string_view line)> sink);
void LogLine(LogLevel level, std::string_view line);

template <class... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (level <= GetLogLevel()) LogLine(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace mixtral

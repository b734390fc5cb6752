// SPDX-License-Identifier: Apache-2.0
// What commands print: results to standard output, everything else to standard error. Used by the
// commands alone.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace mixtral::cli {

/// Thrown when the reader of standard output has gone (`| head -1`): main ends quietly.
class ClosedOutput {};

/// Writes at once, so that text appears as it is made. Throws ClosedOutput, Error{kIo}.
void WriteOut(std::string_view text);

/// One line on standard error.
void WriteNote(std::string_view line);
template <class... Args>
void Note(fmt::format_string<Args...> format, Args&&... args) {
  WriteNote(fmt::format(format, std::forward<Args>(args)...));
}
void PrintNotices(const std::vector<std::string>& notices);

bool StdinIsTerminal();
bool StdoutIsTerminal();
bool StderrIsTerminal();

/// All of standard input. Throws Error{kIo}.
std::string ReadStdin();
/// A file as it is, or standard input for "-".
std::string ReadInput(const std::string& path);

/// "1,17,30"
template <class T>
std::string JoinNumbers(const std::vector<T>& numbers, std::string_view separator) {
  std::string text;
  for (const T number : numbers) {
    if (!text.empty()) text += separator;
    text += std::to_string(number);
  }
  return text;
}
std::string JoinNames(std::span<const std::string_view> names, std::string_view separator);

double PerSecond(double count, double seconds);  // 0 when no time has passed
double Seconds(std::chrono::steady_clock::duration duration);

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Lines from the user: edited, with history, on a terminal (libedit); plain lines from a pipe. Used
// by `chat` alone.
#pragma once

#include <memory>
#include <string>

namespace mixtral::cli {

enum class LineEvent : uint8_t { kLine, kEnd, kInterrupt };

class LineReader {
 public:
  virtual ~LineReader() = default;
  /// kLine: *line is the next line without its end. kEnd: Ctrl-D or the end of input. kInterrupt:
  /// Ctrl-C.
  virtual LineEvent Next(std::string* line) = 0;
};

/// An editor when standard input is a terminal, else a plain reader without any prompt.
std::unique_ptr<LineReader> MakeLineReader();

}  // namespace mixtral::cli

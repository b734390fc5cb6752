// SPDX-License-Identifier: Apache-2.0
// Lines from the user: edited, with history, on a terminal (libedit); plain lines from a pipe. Used
// by `chat` alone.
#pragma once

#include <memory>
#include <string>

namespace mixtral::cli {

enum class LineEvent : uint8_t { kLine, kEnd, kInterrupt };

enum class LinePrompt : uint8_t {
  kMessage,   // "> "
  kContinued  // ". ": more of what the line before began
};

class LineReader {
 public:
  virtual ~LineReader() = default;
  /// kLine: *line is the next line without its end. kEnd: Ctrl-D or the end of input. kInterrupt:
  /// Ctrl-C. A text that was pasted into a terminal may have line ends inside.
  virtual LineEvent Next(LinePrompt prompt, std::string* line) = 0;
};

/// An editor when standard input is a terminal, else a plain reader without any prompt.
std::unique_ptr<LineReader> MakeLineReader();

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Standard streams: checked writes, whole reads, notes.
#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/terminal.h"

namespace mixtral::cli {

/// Past stdio: a write that Ctrl-C interrupts goes on where it was.
void WriteOut(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0)
      text.remove_prefix(static_cast<size_t>(n));
    else if (errno == EPIPE)
      throw ClosedOutput();
    else if (errno != EINTR)
      Throw(ErrorCode::kIo, "standard output: write failed: {}", std::strerror(errno));
  }
}

void WriteNote(std::string_view line) {
  const std::string text = fmt::format("{}\n", line);
  std::fwrite(text.data(), 1, text.size(), stderr);  // there is no other place to complain
}

void PrintNotices(const std::vector<std::string>& notices) {
  const std::string head = Coloured(Stream::kError, Colour::kYellow, "mixtral: note:");
  for (const std::string& notice : notices) Note("{} {}", head, notice);
}

bool StdinIsTerminal() { return isatty(STDIN_FILENO) == 1; }
bool StdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }
bool StderrIsTerminal() { return isatty(STDERR_FILENO) == 1; }

std::string ReadStdin() {
  std::string text;
  char buffer[65536];
  while (true) {
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (n == 0) return text;
    if (n > 0)
      text.append(buffer, static_cast<size_t>(n));
    else if (errno != EINTR)
      Throw(ErrorCode::kIo, "standard input: read failed: {}", std::strerror(errno));
  }
}

std::string ReadInput(const std::string& path) {
  return path == "-" ? ReadStdin() : ReadTextFile(path);
}

std::string JoinNames(std::span<const std::string_view> names, std::string_view separator) {
  return Join(std::vector<std::string>(names.begin(), names.end()), separator);
}

double PerSecond(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Standard streams: checked writes, whole reads, notes and progress.
#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"

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
  for (const std::string& notice : notices) Note("mixtral: note: {}", notice);
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

Progress::Progress(std::string what)
    : what_(std::move(what)), start_(Clock::now()), last_(start_) {}

Progress::~Progress() { Clear(); }

void Progress::Update(int64_t done, int64_t total) {
  const auto now = Clock::now();
  const bool is_terminal = StderrIsTerminal();
  const double pause = !is_terminal ? 10.0 : shown_ == 0 ? 1.0 : 0.2;
  if (done >= total || Seconds(now - last_) < pause) return;
  last_ = now;
  const std::string line = fmt::format("{} {}/{} tokens, {:.1f} tokens/s", what_, done, total,
                                       PerSecond(static_cast<double>(done), Seconds(now - start_)));
  if (!is_terminal) return WriteNote(line);
  std::fprintf(stderr, "\r%-*s", static_cast<int>(shown_), line.c_str());
  shown_ = line.size();
}

void Progress::Clear() {
  if (shown_ > 0) std::fprintf(stderr, "\r%*s\r", static_cast<int>(shown_), "");
  shown_ = 0;
}

}  // namespace mixtral::cli

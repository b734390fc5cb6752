// SPDX-License-Identifier: Apache-2.0
// Starts the mixtral binary and watches it: what it printed, how it ended. Used by the end-to-end
// tests.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/token_id.h"

namespace mixtral::testing {

enum class StdoutTo : uint8_t {
  kCapture,
  kReaderGone,  // a pipe that nobody reads, as after `| head -1`
  kClosed,      // no standard output at all
  kFullDisk,    // /dev/full
};

struct Start {
  std::vector<std::string> arguments;
  std::string input;                     // standard input; a pipe, never a terminal
  std::vector<std::string> environment;  // "NAME=value", beside this process's own
  StdoutTo stdout_to = StdoutTo::kCapture;
};

struct Finished {
  int exit_code = -1;  // -1: ended by a signal, or not within a minute
  int signal = 0;
  std::string out, err;
};

Finished RunProcess(const Start& start);
Finished Mixtral(const std::vector<std::string>& arguments, const std::string& input = "");

/// A child whose standard output is a pipe with room for a few bytes: it stands still after its
/// first words until Finish reads on.
class StalledChild {
 public:
  explicit StalledChild(const std::vector<std::string>& arguments, const std::string& input = "");
  ~StalledChild();
  StalledChild(const StalledChild&) = delete;
  StalledChild& operator=(const StalledChild&) = delete;

  /// Until it has written something and stands still. false: nothing came within half a minute.
  bool WaitUntilStalled() const;
  void Send(int signal) const;
  Finished Finish();

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
};

/// The model that ships with the project.
std::string ShippedModel();
/// What is wrong with a refusal: it must end with exit_code, print nothing on standard output and
/// one line "mixtral: ..." with text on standard error. Empty when all is well.
std::string RefusalProblem(const Finished& run, int exit_code, const std::string& text);

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& text);
std::vector<TokenId> ParseIds(const std::string& line);  // "1,17,30"

}  // namespace mixtral::testing

// SPDX-License-Identifier: Apache-2.0
// The two files of `mixtral batch`: requests in, one JSON object a line, and answers out, appended
// line by line so that whatever is there is whole. What an answer is, is not known here.
#pragma once

#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace mixtral::cli {

/// A request of the input file.
struct BatchItem {
  int64_t line = 0;    // from 1 on
  std::string id;      // custom_id, or "line-N"
  std::string path;    // of the endpoint: "/v1/completions"
  int64_t offset = 0;  // of its line in the file
};

struct BatchInput {
  std::vector<BatchItem> items;
  std::vector<std::string> problems;  // "FILE line 7: ...", one for each line that is no request
  int64_t n_bad = 0;                  // there may be more of them than are listed
};

/// Reads a line as a request: {"custom_id", "url", "body"} (OpenAI's batch files), or a body alone:
/// an object with "prompt", "messages" or "input". Throws Error{kCorrupt} saying what is wrong.
/// body may be nullptr.
BatchItem ParseBatchLine(std::string_view text, int64_t line, Json* body);

/// All lines of a file; empty ones are skipped. Throws Error{kNotFound, kIo}.
BatchInput ReadBatchInput(const std::string& path);

/// Reads lines of the input again, one at a time.
class BatchBodies {
 public:
  explicit BatchBodies(const std::string& path) : path_(path), file_(path, std::ios::binary) {}
  /// Throws Error{kCorrupt} when the file has changed.
  Json Read(const BatchItem& item);

 private:
  std::string path_;
  std::ifstream file_;
};

/// The answers, one a line, each with "custom_id".
class BatchOutput {
 public:
  /// Opens or makes the file, and cuts off a last line that was not written to its end. Throws
  /// Error{kIo}, and Error{kCorrupt} for a file that has other things in it.
  explicit BatchOutput(const std::string& path);
  ~BatchOutput();
  BatchOutput(const BatchOutput&) = delete;
  BatchOutput& operator=(const BatchOutput&) = delete;

  const std::set<std::string>& done() const { return done_; }
  int64_t torn_bytes() const { return torn_bytes_; }  // that were cut off
  /// Appends a line (without its end) in one write. Throws Error{kIo}; then nothing of it is left.
  void Append(std::string_view line);
  /// Everything is on the disk. Throws Error{kIo}.
  void Sync();

 private:
  void ReadDone();
  [[noreturn]] void Fail(const char* what) const;

  std::string path_;
  int file_ = -1;
  int64_t size_ = 0, torn_bytes_ = 0;
  std::set<std::string> done_;
};

}  // namespace mixtral::cli

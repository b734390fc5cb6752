// SPDX-License-Identifier: Apache-2.0
// What every sample of a task was answered and how it was scored, as JSON lines that outlive an
// interruption: the first line says what was measured, and a run of something else does not go on
// with it.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>

#include "base/json.h"

namespace mixtral::eval {

class SampleLog {
 public:
  /// In memory alone.
  SampleLog() = default;
  /// Goes on with path, or begins it. settings: an object that names model, task and protocol.
  /// Throws Error{kInvalidArgument} when the file is of other settings, Error{kCorrupt, kIo}. A
  /// last line that was cut off is dropped.
  SampleLog(const std::string& path, const Json& settings);

  bool Has(int64_t index) const { return samples_.contains(index); }
  /// sample: an object; "index" is set. Written when Flush is called. Throws Error{kIo}.
  void Add(int64_t index, Json sample);
  void Flush();
  const std::map<int64_t, Json>& samples() const { return samples_; }

 private:
  void Read(const std::string& text, const Json& settings);

  std::string path_;
  std::ofstream file_;
  std::map<int64_t, Json> samples_;
};

}  // namespace mixtral::eval

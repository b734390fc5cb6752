// SPDX-License-Identifier: Apache-2.0
// Keeps evaluation items out of training data: a document that shares 13 words in a row with an
// item is found. Filled from files or folders once, then read by any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::data {

constexpr size_t kOverlapWords = 13;  // as in the GPT-3 paper's decontamination

class OverlapFilter {
 public:
  /// Adds every text in a file, or in the files of a folder and of folders below it: each string of
  /// the rows of *.jsonl and *.ndjson (.gz, .zst), everything else as text. Throws what ListInputs
  /// and RowReader throw, and Error{kCorrupt} with the line for a row that is not JSON.
  void AddFiles(const std::string& path);
  void AddText(std::string_view text);
  void Finish();  // after the last Add, before the first Contains

  /// words: of WordHashes.
  bool Overlaps(const std::vector<uint64_t>& words) const;
  size_t n_grams() const { return grams_.size(); }
  /// Texts shorter than kOverlapWords, which cannot be found.
  size_t n_short() const { return n_short_; }
  /// Of all grams: part of a preparation's identity.
  uint64_t Fingerprint() const;

 private:
  std::vector<uint64_t> grams_;  // sorted after Finish
  size_t n_short_ = 0;
};

}  // namespace mixtral::data

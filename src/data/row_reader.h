// SPDX-License-Identifier: Apache-2.0
// Input files as rows with their places: a line of a JSONL file, or a whole text file. Reads in
// order, whoever works on the rows later.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/byte_source.h"

namespace mixtral::data {

enum class FileKind : uint8_t { kText, kJsonLines };

struct InputFile {
  std::string path;
  std::string domain;
  FileKind kind = FileKind::kText;
  uint64_t n_bytes = 0;     // on disk
  int64_t modified_ns = 0;  // since the epoch
};

/// Files of "DOMAIN=PATTERN" arguments in the order of the arguments, each pattern's sorted by
/// path. A pattern is a file, a folder (every file below it but hidden ones) or a glob with * ? [].
/// JSONL is what is named *.jsonl or *.ndjson, with .gz or .zst behind it; everything else is text.
/// Throws Error{kInvalidArgument} for a wrong argument, Error{kNotFound} for a pattern without a
/// file.
std::vector<InputFile> ListInputs(const std::vector<std::string>& arguments);

struct RawRow {
  uint32_t file_idx = 0;
  uint64_t line = 0;  // from 1; 0: the file is the row
  std::string bytes = {};
  std::string problem = {};  // why it cannot be used (too long); then bytes is empty
};

class RowReader {
 public:
  static constexpr size_t kMaxRowBytes = size_t{64} << 20;  // what the tokenizer takes at once

  explicit RowReader(const std::vector<InputFile>* files) : files_(files) {}
  /// The next row that is not a blank line; nullopt at the end of the last file. Throws what
  /// OpenByteSource and ByteSource::Read throw.
  std::optional<RawRow> Next();
  uint64_t n_file_bytes() const { return n_done_bytes_ + (source_ ? source_->n_file_bytes() : 0); }

 private:
  std::optional<RawRow> NextLine();
  RawRow WholeFile();
  bool Fill();

  const std::vector<InputFile>* files_;
  size_t file_idx_ = 0;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t at_ = 0;  // in buffer_
  uint64_t line_ = 0, n_done_bytes_ = 0;
};

}  // namespace mixtral::data

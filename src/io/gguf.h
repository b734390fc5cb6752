// SPDX-License-Identifier: Apache-2.0
// The GGUF format, versions 2 and 3, little-endian: a strict parser of bytes, and the checkpoint
// made of one file or of all files of a split set. Called by OpenCheckpoint.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "io/checkpoint.h"
#include "tensor/view.h"

namespace mixtral {

struct GgufFile {
  uint32_t version = 0;
  /// Flat object of every key; arrays of more than 64 items are left out.
  Json metadata;
  std::optional<GgufVocabulary> vocabulary;
  std::vector<std::pair<std::string, TensorView>> tensors;  // in the file's order
  int split_index = 0, split_count = 1;                     // split.no, split.count
  std::optional<int64_t> split_tensors;                     // split.tensors.count: of all files
};

/// Views into bytes, which must outlive the result. Throws Error{kCorrupt, kUnsupported}: "what:
/// expected X, found Y, in WHERE:TENSOR".
GgufFile ParseGguf(std::span<const std::byte> bytes, std::string_view where = "gguf");

/// A file, or the whole set when it is one of NAME-00001-of-000NN.gguf (any of them may be given).
std::unique_ptr<Checkpoint> OpenGguf(const std::string& path);

/// Path of file index (from 0) of the set that path belongs to, told from its name; nullopt when it
/// is not named like a member.
std::optional<std::string> SplitSibling(const std::string& path, int index);

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// The tokenised rows of a piece of the input, as they lie in the work folder between tokenising and
// writing shards. A batch depends on its rows alone, so any worker may make it and a restart keeps
// it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/document.h"
#include "data/near_duplicates.h"
#include "data/shard_set.h"

namespace mixtral::data {

enum class RowState : uint8_t { kUsable, kEmpty, kOverlap, kBad };

struct BatchRow {
  uint32_t file_idx = 0;
  uint64_t line = 0;
  RowState state = RowState::kUsable;
  std::string problem = {};               // of a bad row
  uint64_t text_bytes = 0;                // of a usable row
  std::array<uint64_t, 2> identity = {};  // equal for equal texts
  Split split = Split::kTrain;
  Signature signature = {};
  std::vector<Document> documents = {};
};

std::string SerializeBatch(const std::vector<BatchRow>& rows);
/// Throws Error{kCorrupt}: the file is not what this program wrote.
std::vector<BatchRow> ParseBatch(std::string_view bytes);

}  // namespace mixtral::data

// SPDX-License-Identifier: Apache-2.0
// What a row of input becomes: one tokenised document, or two that are partners.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/token_id.h"
#include "data/row_reader.h"

namespace mixtral::data {

struct Document {
  std::vector<TokenId> tokens;  // [n]
  std::vector<uint8_t> mask;    // [n], 1 = the prediction of this token counts; empty for text
};

struct EncodedRow {
  std::vector<Document> documents;  // none for a row without text; two: chosen, rejected
  std::string text;                 // what duplicates and overlaps are looked for in
  std::string split_key;            // rows of equal keys go to the same split
};

/// Throws Error for a row that cannot be used; the message says why, not where. Called from several
/// threads.
using RowEncoder = std::function<EncodedRow(const RawRow& row, FileKind kind)>;

}  // namespace mixtral::data

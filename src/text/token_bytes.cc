// SPDX-License-Identifier: Apache-2.0
// The dummy prefix of a text is a space here: only a whole text knows where it begins.
#include "text/token_bytes.h"

namespace mixtral {

std::string TokenBytes(const Tokenizer& tokenizer, TokenId id) {
  if (const auto byte = tokenizer.ByteValue(id)) return std::string(1, static_cast<char>(*byte));
  constexpr std::string_view kWordMark = "\xE2\x96\x81";
  const std::string_view piece = tokenizer.Piece(id);
  if (tokenizer.Type(id) != PieceType::kNormal) return std::string(piece);
  std::string text;
  for (size_t i = 0; i < piece.size();) {
    const bool is_mark = piece.substr(i).starts_with(kWordMark);
    text += is_mark ? ' ' : piece[i];
    i += is_mark ? kWordMark.size() : 1;
  }
  return text;
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// Special pieces in a template's text: at each place the sorted list is narrowed byte by byte.
#include <algorithm>

#include "text/template_chat.h"

namespace mixtral {
namespace {

constexpr size_t kMaxSpecialBytes = 64;  // the longest in use are about 25

bool IsInBrackets(std::string_view piece) {
  return piece.size() > 2 && ((piece.front() == '<' && piece.back() == '>') ||
                              (piece.front() == '[' && piece.back() == ']'));
}

}  // namespace

SpecialPieces::SpecialPieces(const Tokenizer& tokenizer) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const PieceType type = tokenizer.Type(id);
    const std::string_view piece = tokenizer.Piece(id);
    const bool is_special =
        type == PieceType::kControl || (type == PieceType::kUserDefined && IsInBrackets(piece));
    if (is_special && piece.size() <= kMaxSpecialBytes) pieces_.emplace_back(piece, id);
  }
  std::sort(pieces_.begin(), pieces_.end());
}

size_t SpecialPieces::LongestAt(std::string_view text, TokenId* id) const {
  auto begin = pieces_.begin(), end = pieces_.end();
  size_t longest = 0;
  // All of [begin, end) begin with the n bytes seen; one of exactly n bytes would be the first.
  for (size_t n = 0; n < text.size() && begin != end; ++n) {
    const auto byte = static_cast<uint8_t>(text[n]);
    const auto at = [n](const auto& piece) {
      return n < piece.first.size() ? int{static_cast<uint8_t>(piece.first[n])} : -1;
    };
    begin = std::partition_point(begin, end, [&](const auto& piece) { return at(piece) < byte; });
    end = std::partition_point(begin, end, [&](const auto& piece) { return at(piece) == byte; });
    if (begin == end || begin->first.size() != n + 1) continue;
    longest = n + 1;
    *id = begin->second;
  }
  return longest;
}

std::optional<SpecialPieces::Match> SpecialPieces::Find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    Match match{.at = at};
    match.size = LongestAt(text.substr(at), &match.id);
    if (match.size > 0) return match;
  }
  return std::nullopt;
}

}  // namespace mixtral

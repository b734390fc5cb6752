// SPDX-License-Identifier: Apache-2.0
// A vocabulary in memory, whatever file it came from, and the one place that decides whether it is
// sound. Made by sentencepiece_model.cc (tokenizer.model) or from VocabularyLists (GGUF); used by
// Tokenizer, which hands only validated ones to libsentencepiece.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mixtral {

inline constexpr size_t kMaxPieces = 1'000'000;
/// The longest real pieces are runs of spaces and words of code, well under 100 bytes. The bound
/// also limits how deep the library recurses into unused pieces.
inline constexpr size_t kMaxPieceBytes = 1024;
/// libsentencepiece 0.1.97 looks at no more than 64 user-defined pieces that begin at one place
/// and reads past its array when there are more.
inline constexpr int kMaxNestedUserPieces = 64;

enum class VocabularyKind : uint8_t { kUnigram = 1, kBpe = 2 };

struct Vocabulary {
  VocabularyKind kind = VocabularyKind::kBpe;
  std::vector<std::string> pieces;  // all three have one entry for each id
  std::vector<float> scores;
  std::vector<PieceType> types;
  bool byte_fallback = false;  // there are 256 byte pieces
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
  std::string unk_surface = " \xE2\x81\x87 ";  // U+2047, what an unknown id decodes to
  TokenId bos_id = -1, eos_id = -1, unk_id = -1;
};

/// Throws Error{kCorrupt, kUnsupported} naming the piece and the rule it breaks: every rule that
/// libsentencepiece asserts or trusts, and those of the header above. Sets unk_id.
void ValidateVocabulary(Vocabulary* vocabulary);
/// A validated BPE vocabulary from the lists of a GGUF file. Throws as ValidateVocabulary does.
Vocabulary VocabularyFromLists(const VocabularyLists& lists);
/// Marks added tokens that the vocabulary has and appends those that follow it; ascending by id.
/// Validates. Throws Error{kCorrupt} for an id that has another piece, or that leaves a gap.
void AddTokens(std::span<const AddedToken> added, Vocabulary* vocabulary);
/// text as pieces have it: U+2581 in place of each space.
std::string WithSpaceSymbols(std::string_view text);
/// The byte of "<0x0A>", or -1 when piece isn't of exactly that form.
int ByteOfPiece(std::string_view piece);
/// The id of the control piece with this text, -1 when there is none.
TokenId FindControl(const Vocabulary& vocabulary, std::string_view piece);

}  // namespace mixtral

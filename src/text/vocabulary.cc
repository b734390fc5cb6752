// SPDX-License-Identifier: Apache-2.0
// The rules of a sound vocabulary. libsentencepiece aborts or reads out of bounds on some models
// that break them, so all of them are checked here, before it sees anything.
#include "text/vocabulary.h"

#include <algorithm>
#include <bitset>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

void ValidatePiece(const Vocabulary& vocabulary, size_t id) {
  const std::string& piece = vocabulary.pieces[id];
  const auto refuse = [&](std::string_view expected) {
    Throw(ErrorCode::kCorrupt, "tokenizer piece {} '{}': {}", id, Printable(piece), expected);
  };
  if (piece.empty()) refuse("expected text, found none");
  if (piece.size() > kMaxPieceBytes) {
    Throw(ErrorCode::kUnsupported, "tokenizer piece {} '{}': expected at most {} bytes, found {}",
          id, Printable(piece), kMaxPieceBytes, piece.size());
  }
  if (!IsValidUtf8(piece)) refuse("expected valid UTF-8");
  if (piece.find('\0') != std::string::npos) refuse("expected no NUL character");
  if (!std::isfinite(vocabulary.scores[id])) refuse("expected a finite score");
}

void ValidateUnknown(Vocabulary* vocabulary) {
  vocabulary->unk_id = -1;
  for (size_t id = 0; id < vocabulary->types.size(); ++id) {
    if (vocabulary->types[id] != PieceType::kUnknown) continue;
    if (vocabulary->unk_id >= 0) {
      Throw(ErrorCode::kCorrupt, "tokenizer: expected one unknown piece, found ids {} and {}",
            vocabulary->unk_id, id);
    }
    vocabulary->unk_id = static_cast<TokenId>(id);
  }
  if (vocabulary->unk_id < 0) {
    Throw(ErrorCode::kCorrupt, "tokenizer: expected one unknown piece, found none");
  }
}

void ValidateBytes(const Vocabulary& vocabulary) {
  std::bitset<256> found;
  for (size_t id = 0; id < vocabulary.types.size(); ++id) {
    if (vocabulary.types[id] != PieceType::kByte) continue;
    const int byte = ByteOfPiece(vocabulary.pieces[id]);
    if (byte < 0) {
      Throw(ErrorCode::kCorrupt, "tokenizer piece {} '{}': expected a byte piece like <0x0A>", id,
            Printable(vocabulary.pieces[id]));
    }
    found.set(static_cast<size_t>(byte));
  }
  if (!vocabulary.byte_fallback && found.any()) {
    Throw(ErrorCode::kCorrupt, "tokenizer: found {} byte pieces although byte_fallback is off",
          found.count());
  }
  if (!vocabulary.byte_fallback || found.all()) return;
  int missing = 0;
  while (found[static_cast<size_t>(missing)]) ++missing;
  Throw(ErrorCode::kCorrupt, "tokenizer: expected all 256 byte pieces, found {} (no <0x{:02X}>)",
        found.count(), missing);
}

void ValidateUnique(const Vocabulary& vocabulary) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(vocabulary.pieces.size());
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    if (seen.insert(vocabulary.pieces[id]).second) continue;
    const auto first =
        std::find(vocabulary.pieces.begin(), vocabulary.pieces.end(), vocabulary.pieces[id]);
    Throw(ErrorCode::kCorrupt, "tokenizer piece {} '{}': already defined as id {}", id,
          Printable(vocabulary.pieces[id]), first - vocabulary.pieces.begin());
  }
}

/// In sorted order the pieces that are prefixes of the current one form a stack.
void ValidateUserPieces(const Vocabulary& vocabulary) {
  std::vector<std::string_view> user, prefixes;
  for (size_t id = 0; id < vocabulary.types.size(); ++id) {
    if (vocabulary.types[id] == PieceType::kUserDefined) user.push_back(vocabulary.pieces[id]);
  }
  std::sort(user.begin(), user.end());
  for (const std::string_view piece : user) {
    while (!prefixes.empty() && !piece.starts_with(prefixes.back())) prefixes.pop_back();
    prefixes.push_back(piece);
    if (static_cast<int>(prefixes.size()) > kMaxNestedUserPieces) {
      Throw(ErrorCode::kUnsupported,
            "tokenizer: expected at most {} user-defined pieces that begin each other, found more "
            "up to '{}'",
            kMaxNestedUserPieces, Printable(piece));
    }
  }
}

void ValidateSpecial(const Vocabulary& vocabulary, TokenId id, std::string_view name) {
  if (id < -1 || id >= static_cast<TokenId>(vocabulary.pieces.size())) {
    Throw(ErrorCode::kCorrupt, "tokenizer {}: expected an id below {}, found {}", name,
          vocabulary.pieces.size(), id);
  }
}

}  // namespace

int ByteOfPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

TokenId FindControl(const Vocabulary& vocabulary, std::string_view piece) {
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    if (vocabulary.types[id] == PieceType::kControl && vocabulary.pieces[id] == piece) {
      return static_cast<TokenId>(id);
    }
  }
  return -1;
}

void ValidateVocabulary(Vocabulary* vocabulary) {
  const size_t n_pieces = vocabulary->pieces.size();
  if (n_pieces == 0 || n_pieces > kMaxPieces) {
    Throw(n_pieces == 0 ? ErrorCode::kCorrupt : ErrorCode::kUnsupported,
          "tokenizer: expected 1 to {} pieces, found {}", kMaxPieces, n_pieces);
  }
  for (size_t id = 0; id < n_pieces; ++id) ValidatePiece(*vocabulary, id);
  ValidateUnique(*vocabulary);
  ValidateUnknown(vocabulary);
  ValidateBytes(*vocabulary);
  ValidateUserPieces(*vocabulary);
  ValidateSpecial(*vocabulary, vocabulary->bos_id, "bos_token_id");
  ValidateSpecial(*vocabulary, vocabulary->eos_id, "eos_token_id");
  if (vocabulary->unk_surface.size() > kMaxPieceBytes || !IsValidUtf8(vocabulary->unk_surface) ||
      vocabulary->unk_surface.find('\0') != std::string::npos) {
    Throw(ErrorCode::kCorrupt, "tokenizer unk_surface: expected short valid UTF-8 without NUL");
  }
}

std::string WithSpaceSymbols(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ') {
      out += "\xE2\x96\x81";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void AddTokens(std::span<const AddedToken> added, Vocabulary* vocabulary) {
  for (const AddedToken& token : added) {
    const auto n_pieces = std::ssize(vocabulary->pieces);
    const std::string content = token.is_special ? token.content : WithSpaceSymbols(token.content);
    const PieceType type = token.is_special ? PieceType::kControl : PieceType::kUserDefined;
    if (token.id == n_pieces) {
      vocabulary->pieces.push_back(content);
      vocabulary->scores.push_back(0);
      vocabulary->types.push_back(type);
      continue;
    }
    if (token.id < 0 || token.id > n_pieces ||
        vocabulary->pieces[static_cast<size_t>(token.id)] != content)
      Throw(ErrorCode::kCorrupt, "added token '{}': expected id {}, found {}{}", Printable(content),
            n_pieces, token.id,
            token.id < n_pieces ? ", which is another piece" : " (ids must follow one another)");
    PieceType& current = vocabulary->types[static_cast<size_t>(token.id)];
    if (current == PieceType::kUnknown || current == PieceType::kByte) continue;
    current = type;
  }
  ValidateVocabulary(vocabulary);
}

Vocabulary VocabularyFromLists(const VocabularyLists& lists) {
  const size_t n_pieces = lists.tokens.size();
  if (lists.scores.size() != n_pieces || lists.types.size() != n_pieces) {
    Throw(ErrorCode::kCorrupt,
          "tokenizer lists: expected one length, found {} tokens, {} scores, {} types", n_pieces,
          lists.scores.size(), lists.types.size());
  }
  Vocabulary vocabulary;
  vocabulary.pieces = lists.tokens;
  vocabulary.scores = lists.scores;
  vocabulary.types.reserve(n_pieces);
  for (size_t id = 0; id < n_pieces; ++id) {
    const int32_t type = lists.types[id];
    if (type < 1 || type > 6) {
      Throw(ErrorCode::kCorrupt, "tokenizer piece {} '{}': expected a type of 1 to 6, found {}", id,
            Printable(lists.tokens[id]), type);
    }
    vocabulary.types.push_back(static_cast<PieceType>(type));
    vocabulary.byte_fallback |= vocabulary.types.back() == PieceType::kByte;
  }
  vocabulary.add_dummy_prefix = lists.add_space_prefix;
  vocabulary.bos_id = lists.bos_id ? *lists.bos_id : FindControl(vocabulary, "<s>");
  vocabulary.eos_id = lists.eos_id ? *lists.eos_id : FindControl(vocabulary, "</s>");

  const TokenId unknown = lists.unknown_id.value_or(-1);
  ValidateSpecial(vocabulary, unknown, "unknown_token_id");
  const bool has_unknown = std::find(vocabulary.types.begin(), vocabulary.types.end(),
                                     PieceType::kUnknown) != vocabulary.types.end();
  // Some writers give the unknown piece by its id alone and mark it as control.
  if (unknown >= 0 && !has_unknown) {
    vocabulary.types[static_cast<size_t>(unknown)] = PieceType::kUnknown;
  }
  ValidateVocabulary(&vocabulary);
  if (unknown >= 0 && unknown != vocabulary.unk_id) {
    Throw(ErrorCode::kCorrupt,
          "tokenizer unknown_token_id: expected {}, the unknown piece, found {}", vocabulary.unk_id,
          unknown);
  }
  return vocabulary;
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// The decoding rules of SentencePiece 0.1.97, incrementally.
#include "text/detokenizer.h"

#include "base/strings.h"

namespace mixtral {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581

void AppendPiece(std::string_view piece, std::string* out) {
  for (size_t at = 0;;) {
    const size_t space = piece.find(kSpaceSymbol, at);
    out->append(piece.substr(at, space - at));
    if (space == std::string_view::npos) return;
    out->push_back(' ');
    at = space + kSpaceSymbol.size();
  }
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer* tokenizer, StreamStart start)
    : tokenizer_(tokenizer),
      strip_space_(start == StreamStart::kNewText &&
                   (tokenizer->adds_dummy_prefix() || tokenizer->removes_extra_whitespaces())) {}

void Detokenizer::Emit(std::string_view text, std::string* out) {
  if (text.empty()) return;
  strip_space_ = false;
  out->append(text);
}

void Detokenizer::Push(TokenId id, std::string* out) {
  if (const std::optional<uint8_t> byte = tokenizer_->ByteValue(id)) {
    bytes_.push_back(static_cast<char>(*byte));
    const size_t complete = CompleteUtf8Prefix(bytes_);
    if (complete == 0) return;
    Emit(ReplaceInvalidUtf8(std::string_view(bytes_).substr(0, complete)), out);
    bytes_.erase(0, complete);
    return;
  }
  Finish(out);  // any other piece, even an invisible one, ends a run of bytes
  const PieceType type = tokenizer_->Type(id);
  if (type == PieceType::kControl) return;
  if (type == PieceType::kUnknown) return Emit(tokenizer_->unknown_surface(), out);

  std::string_view piece = tokenizer_->Piece(id);
  if (strip_space_ && piece.starts_with(kSpaceSymbol)) {
    piece.remove_prefix(kSpaceSymbol.size());
    // A tokenizer that removes extra spaces drops those of every piece until there is text.
    if (!tokenizer_->removes_extra_whitespaces()) strip_space_ = false;
  }
  if (piece.empty()) return;
  strip_space_ = false;
  AppendPiece(piece, out);
}

void Detokenizer::Finish(std::string* out) {
  if (bytes_.empty()) return;
  Emit(ReplaceInvalidUtf8(bytes_), out);
  bytes_.clear();
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// Encoding by libsentencepiece, which gets a model that we wrote from a validated vocabulary; the
// look-ups and decoding work on the vocabulary itself.
#include "text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <array>
#include <exception>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_json.h"
#include "text/vocabulary.h"

namespace mixtral {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581
constexpr size_t kMaxTextBytes = size_t{64} << 20;
/// Long texts are encoded in parts of about this size (see FindCuts). In one piece the library
/// needs some 90 bytes of memory for each byte of text and gets slower with length: 0.5 s of CPU
/// for each MB in parts, 1.3 s in one piece of 2 MB (2-core cloud machine, GCC 12).
constexpr size_t kChunkBytes = size_t{8} << 10;

/// For each ASCII character c: may a text be cut between c and a space without changing its ids?
/// Yes when no piece has c directly before U+2581, as then no merge ever joins the two sides.
std::array<bool, 128> FindCuts(const Vocabulary& vocabulary) {
  std::array<bool, 128> cuts{};
  if (vocabulary.kind != VocabularyKind::kBpe || !vocabulary.byte_fallback ||
      vocabulary.remove_extra_whitespaces) {
    return cuts;  // scores or unknown runs reach across
  }
  cuts.fill(true);
  cuts[' '] = false;  // two spaces: runs of spaces are pieces
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const std::string& piece = vocabulary.pieces[id];
    for (size_t at = piece.find(kSpaceSymbol, 1); at != std::string::npos;
         at = piece.find(kSpaceSymbol, at + 1)) {
      const auto before = static_cast<uint8_t>(piece[at - 1]);
      if (before < cuts.size()) cuts[before] = false;
    }
  }
  return cuts;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(Vocabulary&& v) : vocabulary(std::move(v)), cuts(FindCuts(vocabulary)) {
    Load(SerializeSentencePieceModel(vocabulary));
    for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
      const PieceType type = vocabulary.types[id];
      if (type != PieceType::kControl && type != PieceType::kUserDefined) continue;
      specials.emplace(vocabulary.pieces[id], static_cast<TokenId>(id));
    }
  }

  void Load(const std::string& model) {
    std::string problem;
    try {  // the library's trie builder throws its own type
      const auto status = library.LoadFromSerializedProto(model);
      if (status.ok()) return;
      problem = status.ToString();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    Throw(ErrorCode::kUnsupported, "tokenizer: the SentencePiece library refuses it: {}", problem);
  }

  void EncodeChunk(std::string_view text, std::vector<TokenId>* ids) const {
    std::vector<int> chunk;
    const auto status = library.Encode(text, &chunk);
    if (!status.ok()) {
      Throw(ErrorCode::kInternal, "tokenizer: the SentencePiece library failed on {} bytes: {}",
            text.size(), status.ToString());
    }
    ids->insert(ids->end(), chunk.begin(), chunk.end());
  }

  /// The first place at or after `from` where text may be cut: a space with text after it.
  size_t FindCut(std::string_view text, size_t from) const {
    for (size_t at = text.find(' ', from); at != std::string_view::npos;
         at = text.find(' ', at + 1)) {
      const auto before = static_cast<uint8_t>(text[at - 1]);
      if (before < cuts.size() && cuts[before] && at + 1 < text.size()) return at;
    }
    return std::string_view::npos;
  }

  Vocabulary vocabulary;
  std::array<bool, 128> cuts;
  std::unordered_map<std::string_view, TokenId> specials;
  sentencepiece::SentencePieceProcessor library;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::FromSentencePiece(std::string_view model_bytes,
                                       std::span<const AddedToken> added) {
  Vocabulary vocabulary = ParseSentencePieceModel(model_bytes);
  if (!added.empty()) AddTokens(added, &vocabulary);
  return Tokenizer(std::make_unique<Impl>(std::move(vocabulary)));
}

Tokenizer Tokenizer::FromVocabulary(const VocabularyLists& vocabulary) {
  return Tokenizer(std::make_unique<Impl>(VocabularyFromLists(vocabulary)));
}

Tokenizer Tokenizer::FromTokenizerJson(std::string_view json) {
  return Tokenizer(std::make_unique<Impl>(ParseTokenizerJson(json)));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, AddBos add_bos) const {
  if (text.size() > kMaxTextBytes) {
    Throw(ErrorCode::kInvalidArgument, "text to tokenize: expected at most {} bytes, found {}",
          kMaxTextBytes, text.size());
  }
  std::vector<TokenId> ids;
  if (add_bos == AddBos::kYes && bos_id() >= 0) ids.push_back(bos_id());
  while (text.size() > kChunkBytes) {
    const size_t cut = impl_->FindCut(text, kChunkBytes);
    if (cut == std::string_view::npos) break;
    impl_->EncodeChunk(text.substr(0, cut), &ids);
    // The space at the cut is what the dummy prefix of the next part puts back.
    text.remove_prefix(adds_dummy_prefix() ? cut + 1 : cut);
  }
  impl_->EncodeChunk(text, &ids);
  return ids;
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids) const {
  Detokenizer detokenizer(this, StreamStart::kNewText);
  std::string text;
  for (const TokenId id : ids) detokenizer.Push(id, &text);
  detokenizer.Finish(&text);
  return text;
}

int Tokenizer::vocab_size() const { return static_cast<int>(impl_->vocabulary.pieces.size()); }
TokenId Tokenizer::bos_id() const { return impl_->vocabulary.bos_id; }
TokenId Tokenizer::eos_id() const { return impl_->vocabulary.eos_id; }
TokenId Tokenizer::unk_id() const { return impl_->vocabulary.unk_id; }
bool Tokenizer::adds_dummy_prefix() const { return impl_->vocabulary.add_dummy_prefix; }
std::string_view Tokenizer::unknown_surface() const { return impl_->vocabulary.unk_surface; }

bool Tokenizer::removes_extra_whitespaces() const {
  return impl_->vocabulary.remove_extra_whitespaces;
}

std::string_view Tokenizer::Piece(TokenId id) const {
  return IsValid(id) ? std::string_view(impl_->vocabulary.pieces[static_cast<size_t>(id)]) : "";
}

PieceType Tokenizer::Type(TokenId id) const {
  return IsValid(id) ? impl_->vocabulary.types[static_cast<size_t>(id)] : PieceType::kUnknown;
}

std::optional<uint8_t> Tokenizer::ByteValue(TokenId id) const {
  if (Type(id) != PieceType::kByte) return std::nullopt;
  return static_cast<uint8_t>(ByteOfPiece(Piece(id)));
}

std::optional<TokenId> Tokenizer::FindSpecial(std::string_view piece) const {
  const auto found = impl_->specials.find(piece);
  if (found == impl_->specials.end()) return std::nullopt;
  return found->second;
}

}  // namespace mixtral

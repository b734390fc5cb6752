// SPDX-License-Identifier: Apache-2.0
// Text <-> token ids over Debian's libsentencepiece, one engine for tokenizer.model, tokenizer.json
// and GGUF vocabularies: all become a validated SentencePiece model in memory, so hostile bytes
// never reach the library.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token_id.h"

namespace mixtral {

enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

/// A vocabulary as plain lists (what a GGUF file carries); all vectors have the same length.
struct VocabularyLists {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;  // PieceType
  std::optional<int32_t> bos_id, eos_id, unknown_id;
  bool add_space_prefix = true;
};

/// A token that a fine-tune put behind those of its base model's vocabulary, or marked in it.
struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool is_special = true;  // a control piece; else one that text is split at
};

enum class AddBos : uint8_t { kNo, kYes };

class Tokenizer {
 public:
  /// All throw Error{kCorrupt, kUnsupported} naming what is wrong (truncated field, missing byte
  /// piece, an added id that leaves a gap, ...). In lists without bos_id or eos_id the control
  /// pieces "<s>" and "</s>" are taken; -1 means that there is none.
  static Tokenizer FromSentencePiece(std::string_view model_bytes,
                                     std::span<const AddedToken> added = {});
  static Tokenizer FromVocabulary(const VocabularyLists& vocabulary);
  /// tokenizer.json of a tokenizer that was made from a SentencePiece BPE model; it gives the ids
  /// of that model. BOS and EOS are "<s>" and "</s>". Others are refused by name.
  static Tokenizer FromTokenizerJson(std::string_view json);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Control pieces in text are ordinary text. Empty text gives no ids (but BOS when asked).
  /// Invalid UTF-8 is encoded with U+FFFD in place of the bad bytes, as SentencePiece does. Safe to
  /// call from several threads. Throws Error{kInvalidArgument} above 64 MiB of text.
  std::vector<TokenId> Encode(std::string_view text, AddBos add_bos) const;
  /// Control ids vanish, byte pieces are gathered to UTF-8 (each byte of an invalid sequence
  /// becomes U+FFFD), one leading dummy-prefix space is dropped. Ids outside the vocabulary (some
  /// models have more rows than their tokenizer has pieces) read as the unknown piece.
  std::string Decode(const std::vector<TokenId>& ids) const;

  int vocab_size() const;
  TokenId bos_id() const;  // -1 when there is none
  TokenId eos_id() const;
  TokenId unk_id() const;
  bool IsValid(TokenId id) const { return id >= 0 && id < vocab_size(); }
  // For an id outside the vocabulary: "", kUnknown, none.
  std::string_view Piece(TokenId id) const;  // as stored: "\u2581the", "<0x0A>"
  PieceType Type(TokenId id) const;
  std::optional<uint8_t> ByteValue(TokenId id) const;  // of a byte piece
  /// The id of a control or user-defined piece with exactly this text, e.g. "[INST]".
  std::optional<TokenId> FindSpecial(std::string_view piece) const;
  bool adds_dummy_prefix() const;
  bool removes_extra_whitespaces() const;    // not for Mistral and Llama vocabularies
  std::string_view unknown_surface() const;  // what an unknown id decodes to

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// Field numbers are those of sentencepiece_model.proto (ModelProto, TrainerSpec, NormalizerSpec).
#include "text/sentencepiece_model.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/strings.h"
#include "text/wire.h"

namespace mixtral {
namespace {

constexpr size_t kMaxModelBytes = size_t{256} << 20;

namespace model_field {
constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5;
}
namespace piece_field {
constexpr uint32_t kPiece = 1, kScore = 2, kType = 3;
}
namespace trainer_field {
constexpr uint32_t kModelType = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35, kUnkSurface = 44,
                   kBosPiece = 46, kEosPiece = 47;
}
namespace normalizer_field {
constexpr uint32_t kName = 1, kCharsMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5;
}

struct TrainerSpec {
  uint64_t model_type = 1;
  bool whitespace_as_suffix = false;
  std::string bos_piece = "<s>", eos_piece = "</s>";
};

struct NormalizerSpec {
  std::string name;
  size_t charsmap_bytes = 0;
  bool escape_whitespaces = true;
};

void ReadPiece(const WireField& message, Vocabulary* vocabulary) {
  const size_t id = vocabulary->pieces.size();
  if (id == kMaxPieces) {
    Throw(ErrorCode::kUnsupported, "tokenizer model: expected at most {} pieces", kMaxPieces);
  }
  std::string_view piece;
  float score = 0;
  uint64_t type = static_cast<uint64_t>(PieceType::kNormal);
  WireReader reader(WireBytes(message, "pieces"), message.offset);
  for (WireField field; reader.Next(&field);) {
    if (field.number == piece_field::kPiece) piece = WireBytes(field, "pieces.piece");
    if (field.number == piece_field::kScore) score = WireFloat(field, "pieces.score");
    if (field.number == piece_field::kType) type = WireInteger(field, "pieces.type");
  }
  if (piece.empty()) {
    Throw(ErrorCode::kCorrupt, "tokenizer model: piece {} at byte {}: expected text, found none",
          id, message.offset);
  }
  if (type < 1 || type > 6) {
    Throw(ErrorCode::kCorrupt,
          "tokenizer model: piece {} '{}': expected a type of 1 to 6, found {}", id,
          Printable(piece), type);
  }
  vocabulary->pieces.emplace_back(piece);
  vocabulary->scores.push_back(score);
  vocabulary->types.push_back(static_cast<PieceType>(type));
}

void ReadTrainer(const WireField& message, TrainerSpec* spec, Vocabulary* vocabulary) {
  namespace f = trainer_field;
  WireReader reader(WireBytes(message, "trainer_spec"), message.offset);
  for (WireField field; reader.Next(&field);) {
    switch (field.number) {
      case f::kModelType:
        spec->model_type = WireInteger(field, "trainer_spec.model_type");
        break;
      case f::kWhitespaceAsSuffix:
        spec->whitespace_as_suffix = WireBool(field, "trainer_spec.treat_whitespace_as_suffix");
        break;
      case f::kByteFallback:
        vocabulary->byte_fallback = WireBool(field, "trainer_spec.byte_fallback");
        break;
      case f::kUnkSurface:
        vocabulary->unk_surface = WireBytes(field, "trainer_spec.unk_surface");
        break;
      case f::kBosPiece:
        spec->bos_piece = WireBytes(field, "trainer_spec.bos_piece");
        break;
      case f::kEosPiece:
        spec->eos_piece = WireBytes(field, "trainer_spec.eos_piece");
        break;
      default:
        break;
    }
  }
}

void ReadNormalizer(const WireField& message, NormalizerSpec* spec, Vocabulary* vocabulary) {
  namespace f = normalizer_field;
  WireReader reader(WireBytes(message, "normalizer_spec"), message.offset);
  for (WireField field; reader.Next(&field);) {
    switch (field.number) {
      case f::kName:
        spec->name = WireBytes(field, "normalizer_spec.name");
        break;
      case f::kCharsMap:
        spec->charsmap_bytes = WireBytes(field, "normalizer_spec.precompiled_charsmap").size();
        break;
      case f::kDummyPrefix:
        vocabulary->add_dummy_prefix = WireBool(field, "normalizer_spec.add_dummy_prefix");
        break;
      case f::kRemoveExtra:
        vocabulary->remove_extra_whitespaces =
            WireBool(field, "normalizer_spec.remove_extra_whitespaces");
        break;
      case f::kEscape:
        spec->escape_whitespaces = WireBool(field, "normalizer_spec.escape_whitespaces");
        break;
      default:
        break;
    }
  }
}

void RequireSupported(const TrainerSpec& trainer, const NormalizerSpec& normalizer,
                      std::string_view which) {
  if (trainer.model_type != 1 && trainer.model_type != 2) {
    const std::string_view name = trainer.model_type == 3   ? "word"
                                  : trainer.model_type == 4 ? "char"
                                                            : "unknown";
    Throw(ErrorCode::kUnsupported,
          "tokenizer model: trainer_spec.model_type: expected 1 (unigram) or 2 (BPE), found {} "
          "({})",
          trainer.model_type, name);
  }
  if (trainer.whitespace_as_suffix) {
    Throw(ErrorCode::kUnsupported,
          "tokenizer model: trainer_spec.treat_whitespace_as_suffix: expected false, found true");
  }
  // The library walks the map's trie without bounds checks, and no Mistral or Llama vocabulary has
  // one, so it is refused rather than trusted.
  if (normalizer.charsmap_bytes != 0) {
    Throw(ErrorCode::kUnsupported,
          "tokenizer model: {}.precompiled_charsmap: expected none (identity), found {} bytes "
          "('{}')",
          which, normalizer.charsmap_bytes, Printable(normalizer.name));
  }
  if (!normalizer.escape_whitespaces) {
    Throw(ErrorCode::kUnsupported,
          "tokenizer model: {}.escape_whitespaces: expected true, found false", which);
  }
}

size_t CountCodepoints(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

}  // namespace

Vocabulary ParseSentencePieceModel(std::string_view model_bytes) {
  if (model_bytes.size() > kMaxModelBytes) {
    Throw(ErrorCode::kUnsupported, "tokenizer model: expected at most {} bytes, found {}",
          kMaxModelBytes, model_bytes.size());
  }
  Vocabulary vocabulary;
  vocabulary.remove_extra_whitespaces = true;  // the format's default
  TrainerSpec trainer;
  NormalizerSpec normalizer, denormalizer;
  WireReader reader(model_bytes);
  for (WireField field; reader.Next(&field);) {
    if (field.number == model_field::kPieces) ReadPiece(field, &vocabulary);
    if (field.number == model_field::kTrainer) ReadTrainer(field, &trainer, &vocabulary);
    if (field.number == model_field::kNormalizer) ReadNormalizer(field, &normalizer, &vocabulary);
    if (field.number == model_field::kDenormalizer) {
      Vocabulary ignored;
      ReadNormalizer(field, &denormalizer, &ignored);
    }
  }
  RequireSupported(trainer, normalizer, "normalizer_spec");
  denormalizer.escape_whitespaces = true;  // no meaning when decoding
  RequireSupported(trainer, denormalizer, "denormalizer_spec");
  vocabulary.kind = static_cast<VocabularyKind>(trainer.model_type);
  if (trainer.bos_piece.empty()) trainer.bos_piece = "<s>";
  if (trainer.eos_piece.empty()) trainer.eos_piece = "</s>";
  vocabulary.bos_id = FindControl(vocabulary, trainer.bos_piece);
  vocabulary.eos_id = FindControl(vocabulary, trainer.eos_piece);
  ValidateVocabulary(&vocabulary);
  return vocabulary;
}

std::string SerializeSentencePieceModel(const Vocabulary& vocabulary) {
  const std::unordered_set<std::string_view> names(vocabulary.pieces.begin(),
                                                   vocabulary.pieces.end());
  std::string model, message;
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    std::string renamed;
    std::string_view piece = vocabulary.pieces[id];
    if (vocabulary.types[id] == PieceType::kControl && CountCodepoints(piece) == 1) {
      renamed = fmt::format("<control {}>", id);
      while (names.contains(renamed)) renamed += '_';
      piece = renamed;
    }
    message.clear();
    AppendBytes(&message, piece_field::kPiece, piece);
    AppendFloat(&message, piece_field::kScore, vocabulary.scores[id]);
    AppendInteger(&message, piece_field::kType, static_cast<uint64_t>(vocabulary.types[id]));
    AppendBytes(&model, model_field::kPieces, message);
  }
  message.clear();
  AppendInteger(&message, trainer_field::kModelType, static_cast<uint64_t>(vocabulary.kind));
  AppendInteger(&message, trainer_field::kByteFallback, vocabulary.byte_fallback ? 1 : 0);
  AppendBytes(&message, trainer_field::kUnkSurface, vocabulary.unk_surface);
  AppendBytes(&model, model_field::kTrainer, message);
  message.clear();
  AppendBytes(&message, normalizer_field::kName, "identity");
  AppendInteger(&message, normalizer_field::kDummyPrefix, vocabulary.add_dummy_prefix ? 1 : 0);
  AppendInteger(&message, normalizer_field::kRemoveExtra,
                vocabulary.remove_extra_whitespaces ? 1 : 0);
  AppendInteger(&message, normalizer_field::kEscape, 1);
  AppendBytes(&model, model_field::kNormalizer, message);
  return model;
}

}  // namespace mixtral

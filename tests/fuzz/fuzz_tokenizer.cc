// SPDX-License-Identifier: Apache-2.0
// A vocabulary of any bytes: a GGUF file, a tokenizer.json or else a tokenizer.model, by how the
// input begins; a sound one then encodes and decodes a short text.
#include "fuzz/fuzz_support.h"
#include "io/gguf.h"
#include "text/tokenizer.h"

namespace {

mixtral::Tokenizer FromGguf(std::span<const std::byte> bytes) {
  const mixtral::GgufFile file = mixtral::ParseGguf(bytes);
  if (!file.vocabulary) mixtral::Throw(mixtral::ErrorCode::kNotFound, "no vocabulary");
  const mixtral::GgufVocabulary& v = *file.vocabulary;
  return mixtral::Tokenizer::FromVocabulary({.tokens = v.tokens,
                                             .scores = v.scores,
                                             .types = v.types,
                                             .bos_id = v.bos_id,
                                             .eos_id = v.eos_id,
                                             .unknown_id = v.unknown_id,
                                             .add_space_prefix = v.add_space_prefix});
}

void Use(const mixtral::Tokenizer& tokenizer) {
  constexpr std::string_view kText = "the  quick\n<s>[INST] \xC3\xA9\xF0\x9F\x99\x82 \xFF 12";
  const std::vector<mixtral::TokenId> ids = tokenizer.Encode(kText, mixtral::AddBos::kYes);
  for (const mixtral::TokenId id : ids)
    if (!tokenizer.IsValid(id)) std::abort();
  tokenizer.Decode(ids);
  const auto last = static_cast<mixtral::TokenId>(tokenizer.vocab_size() - 1);
  tokenizer.Decode({0, last, last + 1});
  tokenizer.FindSpecial("[INST]");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = mixtral::fuzz::Text(data, size);
  mixtral::fuzz::Accepts([&] {
    if (text.starts_with("GGUF")) return Use(FromGguf(mixtral::fuzz::Bytes(data, size)));
    if (text.starts_with('{')) return Use(mixtral::Tokenizer::FromTokenizerJson(text));
    Use(mixtral::Tokenizer::FromSentencePiece(text));
  });
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// A chat template of any text: recognised, then a conversation with a tool rendered and explained.
// Evaluation is bounded, so a hang is a finding, too.
#include <string>

#include "fuzz/fuzz_support.h"
#include "text/chat_template.h"

namespace {

mixtral::Tokenizer SmallTokenizer() {
  mixtral::VocabularyLists lists;
  const auto add = [&](std::string piece, mixtral::PieceType type) {
    lists.tokens.push_back(std::move(piece));
    lists.scores.push_back(-static_cast<float>(lists.scores.size()));
    lists.types.push_back(static_cast<int32_t>(type));
  };
  add("<unk>", mixtral::PieceType::kUnknown);
  add("<s>", mixtral::PieceType::kControl);
  add("</s>", mixtral::PieceType::kControl);
  for (int byte = 0; byte < 256; ++byte)
    add(fmt::format("<0x{:02X}>", byte), mixtral::PieceType::kByte);
  for (const char* piece : {"[INST]", "[/INST]"}) add(piece, mixtral::PieceType::kControl);
  for (char c = 'a'; c <= 'z'; ++c) add(std::string(1, c), mixtral::PieceType::kNormal);
  return mixtral::Tokenizer::FromVocabulary(lists);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const mixtral::Tokenizer tokenizer = SmallTokenizer();
  static const std::vector<mixtral::Message> messages = {
      {.role = "system", .content = "be brief"},
      {.role = "user", .content = " one [INST]\n"},
      {.role = "assistant", .content = "two</s>"},
      {.role = "user", .content = "\xC3\xA9"}};
  static const std::vector<mixtral::Tool> tools = {{.name = "f", .description = "does"}};
  const std::string_view text = mixtral::fuzz::Text(data, size);
  mixtral::fuzz::Accepts([&] { mixtral::RecogniseTemplate(text, tokenizer); });
  mixtral::fuzz::Accepts([&] {
    const mixtral::ChatTemplate chat(text, &tokenizer);
    const auto ids = chat.Render(messages, {.tools = tools});
    if (chat.Explain(messages, {.tools = tools}).size() != ids.size()) std::abort();
    for (const mixtral::TokenId id : ids)
      if (!tokenizer.IsValid(id)) std::abort();
    chat.Render(std::span(messages).last(1), {.add_generation_prompt = false});
  });
  return 0;
}

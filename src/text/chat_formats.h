// SPDX-License-Identifier: Apache-2.0
// One function for each built-in chat format. Called by chat_template.cc alone, with messages that
// CheckMessages passed.
#pragma once

#include <span>

#include "text/chat_template.h"
#include "text/token_writer.h"

namespace mixtral {

struct Rendering {
  const Tokenizer& tokenizer;
  std::span<const Message> messages;
  const RenderOptions& options;

  bool IsContinued(size_t turn, size_t n_turns) const {
    return options.continue_final_message && turn + 1 == n_turns;
  }
};

inline constexpr std::string_view kImStart = "<|im_start|>", kImEnd = "<|im_end|>";

void WriteMistralV1(const Rendering& r, TokenWriter* writer);
void WriteMistralV2V3(const Rendering& r, ChatFormat format, TokenWriter* writer);
void WriteLlama2(const Rendering& r, TokenWriter* writer);
void WriteChatMl(const Rendering& r, TokenWriter* writer);
void WriteNone(const Rendering& r, TokenWriter* writer);

}  // namespace mixtral

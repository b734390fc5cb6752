// SPDX-License-Identifier: Apache-2.0
// Token ids of a conversation as its parts are written, each token with the rule that put it there.
// Used by chat_formats.cc and template_chat.cc; knows no format.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template.h"

namespace mixtral {

class TokenWriter {
 public:
  explicit TokenWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// Texts that follow each other are one text: it is encoded when an id or EndText comes.
  void Text(std::string_view text, std::string_view rule);
  void EndText();
  void Id(TokenId id, std::string_view rule);  // -1: none
  /// The id of a control or user-defined piece, or the text where the vocabulary has none.
  void Special(std::string_view piece, std::string_view rule);

  std::vector<TokenId> TakeIds();
  std::vector<ExplainedToken> TakeTokens();

 private:
  /// The rule of each of the ids that text_ became.
  void AddRules(const std::vector<TokenId>& ids);

  const Tokenizer& tokenizer_;
  std::string text_;
  std::vector<std::pair<size_t, size_t>> spans_;  // end in text_, index into rules_
  std::vector<std::string> rules_;
  std::vector<TokenId> ids_;
  std::vector<size_t> rule_of_id_;
};

}  // namespace mixtral

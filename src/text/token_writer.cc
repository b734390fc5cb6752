// SPDX-License-Identifier: Apache-2.0
// One call of the tokenizer may cover several parts, so tokens are laid along the text to find the
// part that each belongs to.
#include "text/token_writer.h"

namespace mixtral {
namespace {

/// Bytes of text that a piece stands for: U+2581 for one space, a byte piece for one byte.
size_t SurfaceBytes(const Tokenizer& tokenizer, TokenId id) {
  if (tokenizer.ByteValue(id)) return 1;
  const std::string_view piece = tokenizer.Piece(id);
  size_t n = piece.size();
  for (size_t at = 0; (at = piece.find("\xE2\x96\x81", at)) != std::string_view::npos; at += 3) {
    n -= 2;
  }
  return n;
}

}  // namespace

void TokenWriter::Text(std::string_view text, std::string_view rule) {
  if (text.empty()) return;
  text_ += text;
  rules_.emplace_back(rule);
  spans_.emplace_back(text_.size(), rules_.size() - 1);
}

void TokenWriter::AddRules(const std::vector<TokenId>& ids) {
  const size_t prefix = tokenizer_.adds_dummy_prefix() ? 1 : 0;
  size_t total = 0;
  for (const TokenId id : ids) total += SurfaceBytes(tokenizer_, id);
  if (total != text_.size() + prefix) {  // unknown characters, bytes that are no text
    std::string all;
    for (const auto& [end, rule] : spans_) all += (all.empty() ? "" : " + ") + rules_[rule];
    rules_.push_back(all);
    rule_of_id_.insert(rule_of_id_.end(), ids.size(), rules_.size() - 1);
    return;
  }
  // A token belongs to the part that its last byte is of, so a space goes with what follows it.
  size_t end = 0, span = 0;
  for (const TokenId id : ids) {
    end += SurfaceBytes(tokenizer_, id);
    while (span + 1 < spans_.size() && spans_[span].first + prefix < end) ++span;
    rule_of_id_.push_back(spans_[span].second);
  }
}

void TokenWriter::EndText() {
  if (text_.empty()) return;
  const std::vector<TokenId> ids = tokenizer_.Encode(text_, AddBos::kNo);
  AddRules(ids);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  text_.clear();
  spans_.clear();
}

void TokenWriter::Id(TokenId id, std::string_view rule) {
  EndText();
  if (id < 0) return;
  ids_.push_back(id);
  rules_.emplace_back(rule);
  rule_of_id_.push_back(rules_.size() - 1);
}

void TokenWriter::Special(std::string_view piece, std::string_view rule) {
  const std::optional<TokenId> id = tokenizer_.FindSpecial(piece);
  if (id) {
    Id(*id, rule);
  } else {
    Text(piece, rule);
  }
}

std::vector<TokenId> TokenWriter::TakeIds() {
  EndText();
  return std::move(ids_);
}

std::vector<ExplainedToken> TokenWriter::TakeTokens() {
  EndText();
  std::vector<ExplainedToken> tokens;
  tokens.reserve(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i) {
    tokens.push_back({ids_[i], std::string(tokenizer_.Piece(ids_[i])), rules_[rule_of_id_[i]]});
  }
  return tokens;
}

}  // namespace mixtral

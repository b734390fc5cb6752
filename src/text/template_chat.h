// SPDX-License-Identifier: Apache-2.0
// A conversation by a model's own Jinja template: values in, text out, text to ids. Used by
// ChatTemplate (kTemplate) and RecogniseTemplate. docs/chat.md says how text becomes ids and why a
// message's own text can't become a control id.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"
#include "text/jinja/template.h"
#include "text/token_writer.h"

namespace mixtral {

/// The pieces of a vocabulary that a template's text means as ids: control pieces, and user-defined
/// ones in <...> or [...].
class SpecialPieces {
 public:
  struct Match {
    size_t at = 0, size = 0;
    TokenId id = -1;
  };

  explicit SpecialPieces(const Tokenizer& tokenizer);
  /// The first match at or after `from`, of several there the longest.
  std::optional<Match> Find(std::string_view text, size_t from) const;

 private:
  size_t LongestAt(std::string_view text, TokenId* id) const;

  std::vector<std::pair<std::string, TokenId>> pieces_;  // sorted
};

class TemplateChat {
 public:
  /// Throws as jinja::Template and TryWrite do: a probe conversation is rendered.
  TemplateChat(std::string_view jinja, const Tokenizer* tokenizer);

  /// messages were checked. Returns what raise_exception said; nothing is written then. Throws
  /// Error{kUnsupported} for what the evaluator refuses.
  std::optional<std::string> TryWrite(std::span<const Message> messages,
                                      const RenderOptions& options, TokenWriter* writer) const;
  /// Throws Error{kInvalidArgument} when the template refuses the conversation.
  void Write(std::span<const Message> messages, const RenderOptions& options,
             TokenWriter* writer) const;

  // What the template writes after an assistant's message, if that ends it.
  std::optional<TokenId> stop_token() const { return stop_token_; }
  const std::string& stop_string() const { return stop_string_; }

 private:
  jinja::Output Evaluate(std::span<const Message> messages, const RenderOptions& options) const;
  jinja::Value MessageValue(const Message& message, std::string_view end_mark) const;
  jinja::Value Marked(const jinja::Value& value) const;
  std::string Marked(std::string_view text) const;
  void WriteText(std::string_view text, std::span<const Message> messages,
                 TokenWriter* writer) const;
  void FindStop();

  const Tokenizer* tokenizer_;
  SpecialPieces specials_;
  jinja::Template template_;
  std::optional<TokenId> stop_token_;
  std::string stop_string_;
};

}  // namespace mixtral

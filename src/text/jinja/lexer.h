// SPDX-License-Identifier: Apache-2.0
// Template text -> tokens, with white space handled as Jinja does with trim_blocks and
// lstrip_blocks on, which is how chat templates are run. Called by the parser alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mixtral::jinja {

inline constexpr size_t kMaxTemplateBytes = size_t{256} << 10;

enum class TokenType : uint8_t {
  kText,
  kOutputBegin,
  kOutputEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kInteger,
  kFloat,
  kString,    // text is the value, escapes resolved
  kOperator,  // text is the operator: "==", "[", ...
  kEnd
};

struct Token {
  TokenType type = TokenType::kEnd;
  std::string text;
  int line = 1;
};

/// The last token is kEnd. Throws Error{kCorrupt} naming the line where the text is no template,
/// Error{kUnsupported} for a template above kMaxTemplateBytes.
std::vector<Token> Lex(std::string_view source);

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// Long texts cut into windows of tokens, and where a continuation begins: the rules that make
// likelihoods comparable with other programs'. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token_id.h"

namespace mixtral::eval {

/// Tokens of which the last n_scored (at least 1) are scored, each by those before it.
struct TokenWindow {
  std::vector<TokenId> tokens;  // the last one is not computed itself
  size_t n_scored = 1;          // less than tokens.size()
};

struct WindowRule {
  int64_t context = 0;  // tokens that a prediction sees at most
  int64_t stride = 0;   // tokens that a window after the first one scores; 0 = context
};

/// tokens: BOS, then the text. Every token after BOS is scored once. The first window scores
/// `context` tokens, the others `stride` tokens, each window computes `context` tokens. With the
/// stride as long as the context the first of a window is scored by one token before it
/// (lm-evaluation-harness's rolling windows).
std::vector<TokenWindow> CutWindows(std::span<const TokenId> tokens, const WindowRule& rule);

/// As llama.cpp's perplexity does it: whole chunks of n_ctx tokens of BOS and text, the first token
/// of each replaced by bos, tokens n_ctx / 2 + 1 and later of each scored; what remains at the end
/// is left out. n_ctx at least 3.
std::vector<TokenWindow> CutLlamaCppChunks(std::span<const TokenId> tokens, int64_t n_ctx,
                                           TokenId bos);

struct SplitText {
  std::string context, continuation;
};
/// White space at the end of the context goes to the continuation: tokens carry the space before a
/// word (lm-evaluation-harness's rule).
SplitText SplitBeforeSpaces(std::string_view context, std::string_view continuation);

}  // namespace mixtral::eval

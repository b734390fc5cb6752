// SPDX-License-Identifier: Apache-2.0
// Each rule is written out in docs/evaluation.md.
#include "eval/text_windows.h"

#include <algorithm>

#include "base/check.h"
#include "text/jinja/utf8.h"

namespace mixtral::eval {
namespace {

TokenWindow Slice(std::span<const TokenId> tokens, int64_t begin, int64_t end, int64_t n_scored) {
  const auto part = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return {.tokens = {part.begin(), part.end()}, .n_scored = static_cast<size_t>(n_scored)};
}

}  // namespace

std::vector<TokenWindow> CutWindows(std::span<const TokenId> tokens, const WindowRule& rule) {
  const int64_t stride = rule.stride > 0 ? rule.stride : rule.context;
  Check(rule.context >= 1 && stride <= rule.context, "a window computes at least what it scores");
  std::vector<TokenWindow> windows;
  const int64_t n = std::ssize(tokens);
  for (int64_t begin = 1; begin < n;) {  // the first token that is not scored yet
    const int64_t end = std::min(n, begin + (begin == 1 ? rule.context : stride));
    windows.push_back(
        Slice(tokens, std::max<int64_t>(0, end - rule.context - 1), end, end - begin));
    begin = end;
  }
  return windows;
}

std::vector<TokenWindow> CutLlamaCppChunks(std::span<const TokenId> tokens, int64_t n_ctx,
                                           TokenId bos) {
  Check(n_ctx >= 3, "a chunk has a token in its second half that is scored");
  std::vector<TokenWindow> windows;
  for (int64_t begin = 0; begin + n_ctx <= std::ssize(tokens); begin += n_ctx) {
    windows.push_back(Slice(tokens, begin, begin + n_ctx, n_ctx - n_ctx / 2 - 1));
    windows.back().tokens.front() = bos;
  }
  return windows;
}

SplitText SplitBeforeSpaces(std::string_view context, std::string_view continuation) {
  const std::string_view kept = jinja::StripSpace(context, jinja::Side::kRight);
  const std::string_view spaces = context.substr(kept.size());
  return {.context = std::string(kept),
          .continuation = std::string(spaces) + std::string(continuation)};
}

}  // namespace mixtral::eval

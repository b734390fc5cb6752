// SPDX-License-Identifier: Apache-2.0
// Sorted, a prompt shares more with its neighbour before it than with any earlier one; a stack says
// who came first with each page of it.
#include "eval/prefix_order.h"

#include <algorithm>
#include <numeric>

namespace mixtral::eval {
namespace {

size_t CommonTokens(std::span<const TokenId> a, std::span<const TokenId> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first -
      a.begin());
}

}  // namespace

PrefixOrder MakePrefixOrder(std::span<const std::span<const TokenId>> prompts, size_t page) {
  PrefixOrder plan;
  plan.order.resize(prompts.size());
  plan.leader.assign(prompts.size(), PrefixOrder::kNone);
  std::iota(plan.order.begin(), plan.order.end(), size_t{0});
  std::stable_sort(plan.order.begin(), plan.order.end(), [&](size_t a, size_t b) {
    return std::lexicographical_compare(prompts[a].begin(), prompts[a].end(), prompts[b].begin(),
                                        prompts[b].end());
  });
  std::vector<size_t> first_with;  // [page of the prompt before] the place that computes it
  for (size_t place = 0; place < plan.order.size(); ++place) {
    const std::span<const TokenId> prompt = prompts[plan.order[place]];
    size_t n_shared = 0;
    if (place > 0) n_shared = CommonTokens(prompts[plan.order[place - 1]], prompt) / page;
    if (n_shared > 0) plan.leader[place] = first_with[n_shared - 1];
    first_with.resize(n_shared);
    first_with.resize(prompt.size() / page, place);
  }
  return plan;
}

}  // namespace mixtral::eval

// SPDX-License-Identifier: Apache-2.0
// In which order prompts are computed so that what several of them begin with is computed once: a
// prompt waits for the one that puts its beginning into the prefix cache. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token_id.h"

namespace mixtral::eval {

struct PrefixOrder {
  static constexpr size_t kNone = SIZE_MAX;
  std::vector<size_t> order;   // of the prompts, sorted by their tokens: neighbours share most
  std::vector<size_t> leader;  // [place in order] the earlier place that it waits for, or kNone
};

/// page: tokens that are cached together; a shorter common beginning is not waited for.
PrefixOrder MakePrefixOrder(std::span<const std::span<const TokenId>> prompts, size_t page);

}  // namespace mixtral::eval

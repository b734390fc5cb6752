// SPDX-License-Identifier: Apache-2.0
// The ExpertStore of a model whose experts are all in memory (or in a mapped file): every wave is
// complete at once.
#pragma once

#include <vector>

#include "moe/expert_store.h"

namespace mixtral {

class ResidentStore final : public ExpertStore {
 public:
  /// experts[layer][expert]
  explicit ResidentStore(std::vector<std::vector<ExpertWeights>> experts);
  void Prefetch(int layer, std::span<const int32_t> expert_ids) override;
  void Begin(int layer, std::span<const int32_t> expert_ids) override;
  int NextWave(std::span<ExpertLease> leases) override;

 private:
  std::vector<std::vector<ExpertWeights>> experts_;
  int layer_ = 0;
  std::vector<int32_t> wanted_;
  size_t next_ = 0;
};

}  // namespace mixtral

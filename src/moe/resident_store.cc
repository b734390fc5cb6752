// SPDX-License-Identifier: Apache-2.0
// All experts are there already: hands out as many at once as the caller has room for.
#include "moe/resident_store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mixtral {

ResidentStore::ResidentStore(std::vector<std::vector<ExpertWeights>> experts)
    : experts_(std::move(experts)) {
  size_t most = 0;
  for (const auto& layer : experts_) most = std::max(most, layer.size());
  wanted_.reserve(most);  // so that Begin never allocates
}

void ResidentStore::Prefetch(int /*layer*/, std::span<const int32_t> /*expert_ids*/) {}

void ResidentStore::Begin(int layer, std::span<const int32_t> expert_ids) {
  Check(layer >= 0 && static_cast<size_t>(layer) < experts_.size(), "resident store: layer exists");
  layer_ = layer;
  wanted_.assign(expert_ids.begin(), expert_ids.end());
  next_ = 0;
}

int ResidentStore::NextWave(std::span<ExpertLease> leases) {
  int n = 0;
  for (; next_ < wanted_.size() && static_cast<size_t>(n) < leases.size(); ++next_, ++n) {
    const int32_t id = wanted_[next_];
    const auto& layer = experts_[static_cast<size_t>(layer_)];
    Check(id >= 0 && static_cast<size_t>(id) < layer.size(), "resident store: expert exists");
    leases[static_cast<size_t>(n)] = {id, layer[static_cast<size_t>(id)]};
  }
  return n;
}

}  // namespace mixtral

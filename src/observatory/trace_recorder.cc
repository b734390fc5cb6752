// SPDX-License-Identifier: Apache-2.0
// Rows are added when the first layer reports, and filled by each layer.
#include "observatory/trace_recorder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace mixtral::observatory {

uint8_t QuantizeWeight(float weight) {
  return static_cast<uint8_t>(std::lround(std::clamp(weight, 0.0F, 1.0F) * 255));
}

void TraceRecorder::OnRouting(int layer, const Batch& batch, const Routing& routing,
                              Matrix<const float> /*router_logits*/) {
  Check(batch.ranges.size() == 1, "a recorder watches one sequence");
  const size_t row = static_cast<size_t>(info_.n_layers) * static_cast<size_t>(info_.k);
  if (layer == 0) {
    if (sequence_.tokens.empty()) sequence_.first_position = batch.ranges[0].start;
    sequence_.tokens.insert(sequence_.tokens.end(), batch.tokens.begin(), batch.tokens.end());
    sequence_.expert_ids.resize(sequence_.tokens.size() * row, kNoExpert);
    sequence_.weights.resize(sequence_.tokens.size() * row);
  }
  const size_t first = sequence_.tokens.size() - batch.tokens.size();
  const int64_t k = std::min<int64_t>(routing.expert_ids.cols, info_.k);
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    const size_t at = (first + t) * row + static_cast<size_t>(layer) * static_cast<size_t>(info_.k);
    const int32_t* ids = routing.expert_ids.Row(static_cast<int64_t>(t));
    const float* weights = routing.weights.Row(static_cast<int64_t>(t));
    for (int64_t i = 0; i < k && ids[i] >= 0; ++i) {
      sequence_.expert_ids[at + static_cast<size_t>(i)] = static_cast<uint8_t>(ids[i]);
      sequence_.weights[at + static_cast<size_t>(i)] = QuantizeWeight(weights[i]);
    }
  }
}

TraceSequence TraceRecorder::Take(const std::string& domain) {
  sequence_.domain = domain;
  return std::exchange(sequence_, {});
}

}  // namespace mixtral::observatory

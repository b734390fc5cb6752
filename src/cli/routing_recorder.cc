// SPDX-License-Identifier: Apache-2.0
// Wide models have more experts than a line has room for: there the busiest of each layer are
// shown.
#include "cli/routing_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/strings.h"

namespace mixtral::cli {
namespace {

constexpr size_t kColumns = 16;  // experts of a layer that are shown

}  // namespace

RoutingRecorder::RoutingRecorder(const ModelConfig& config)
    : n_layers_(config.n_layers),
      n_experts_(static_cast<size_t>(config.n_experts)),
      counts_(static_cast<size_t>(n_layers_) * n_experts_),
      last_(static_cast<size_t>(kLastSteps * n_layers_)) {}

void RoutingRecorder::Begin(int64_t first_position) {
  first_ = first_position;
  n_steps_ = 0;
  std::fill(counts_.begin(), counts_.end(), 0);
}

void RoutingRecorder::OnRouting(int layer, const Batch& batch, const Routing& routing,
                                Matrix<const float> /*router_logits*/) {
  const int64_t start = batch.ranges.front().start;
  for (int64_t row = std::max<int64_t>(0, first_ - start); row < routing.expert_ids.rows; ++row) {
    const int64_t step = start + row - first_;
    n_steps_ = step + 1;
    std::string& text = last_[static_cast<size_t>(step % kLastSteps * n_layers_ + layer)];
    text.clear();
    for (int64_t i = 0; i < routing.expert_ids.cols; ++i) {
      const int32_t expert = routing.expert_ids.Row(row)[i];
      if (expert < 0) break;  // fewer for this row
      ++counts_[static_cast<size_t>(layer) * n_experts_ + static_cast<size_t>(expert)];
      if (!text.empty()) text += ',';
      text += std::to_string(expert);
    }
  }
}

std::string RoutingRecorder::Shares() const {
  std::string text = "layer  share of each expert in percent, the busiest first\n";
  for (size_t layer = 0; layer < static_cast<size_t>(n_layers_); ++layer) {
    const std::span<const int64_t> counts(&counts_[layer * n_experts_], n_experts_);
    const auto total =
        std::max<int64_t>(1, std::accumulate(counts.begin(), counts.end(), int64_t{0}));
    std::vector<size_t> order(n_experts_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return counts[a] > counts[b]; });
    text += fmt::format("{:>5} ", layer);
    for (size_t i = 0; i < std::min(order.size(), kColumns) && counts[order[i]] > 0; ++i)
      text +=
          fmt::format(" {:>3}:{:<3.0f}", order[i],
                      100.0 * static_cast<double>(counts[order[i]]) / static_cast<double>(total));
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string RoutingRecorder::LastSteps(std::span<const TokenId> tokens,
                                       const Tokenizer& tokenizer) const {
  std::string text = "the last tokens and their experts, layer by layer, the heaviest first\n";
  for (int64_t step = std::max<int64_t>(0, n_steps_ - kLastSteps); step < n_steps_; ++step) {
    const bool is_token = step < std::ssize(tokens);
    text += fmt::format(
        "  {:<12}",
        is_token ? Printable(tokenizer.Piece(tokens[static_cast<size_t>(step)])) : "(end)");
    for (int layer = 0; layer < n_layers_; ++layer)
      text += ' ' + last_[static_cast<size_t>(step % kLastSteps * n_layers_ + layer)];
    text += '\n';
  }
  return text;
}

std::string RoutingRecorder::Report(std::span<const TokenId> tokens,
                                    const Tokenizer& tokenizer) const {
  if (n_experts_ == 0) return "This model has no experts to choose from.";
  if (n_steps_ == 0) return "There is no answer yet.";
  std::string text =
      fmt::format("The last answer: {} tokens, {} steps.\n", tokens.size(), n_steps_) + Shares() +
      LastSteps(tokens, tokenizer);
  text.pop_back();
  return text;
}

}  // namespace mixtral::cli

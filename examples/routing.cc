// SPDX-License-Identifier: Apache-2.0
// routing MODEL TEXT: which experts read a text, layer by layer, and what banning the busiest one
// does to the likelihood of the text.
#include <mixtral/mixtral.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace mx = mixtral::api;

namespace {

/// Mean negative log likelihood of tokens[1..], in nats.
double Loss(mx::Model& model, const std::vector<mx::Token>& tokens,
            const mx::LogitsOptions& options) {
  double sum = 0;
  const auto on_logits = [&](std::int64_t position, std::span<const float> logits) {
    const auto next = static_cast<std::size_t>(position) + 1;
    if (next == tokens.size()) return;
    const float largest = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit - largest));
    sum += std::log(total) + largest - logits[static_cast<std::size_t>(tokens[next])];
  };
  model.Logits(tokens, on_logits, options);
  return sum / static_cast<double>(tokens.size() - 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: routing MODEL TEXT\n"), 1;
  try {
    mx::Model model(argv[1]);
    const std::vector<mx::Token> tokens = model.Encode(argv[2]);
    const auto n_experts = static_cast<std::size_t>(model.info().n_experts);
    if (n_experts == 0) return std::fprintf(stderr, "routing: a dense model has no experts\n"), 2;
    if (tokens.size() < 2) return std::fprintf(stderr, "routing: expected a text\n"), 2;

    std::vector<int> all_layers(n_experts, 0);
    std::vector<std::vector<int>> counts(static_cast<std::size_t>(model.info().n_layers),
                                         all_layers);
    mx::LogitsOptions options;
    options.on_routing = [&](const mx::RoutingEvent& event) {
      for (const int expert : event.expert_ids) {
        ++counts[static_cast<std::size_t>(event.layer)][static_cast<std::size_t>(expert)];
        ++all_layers[static_cast<std::size_t>(expert)];
      }
    };
    const double loss = Loss(model, tokens, options);
    for (std::size_t layer = 0; layer < counts.size(); ++layer) {
      std::printf("layer %zu:", layer);
      for (const int count : counts[layer]) std::printf(" %4d", count);
      std::printf("\n");
    }
    const auto busiest = std::max_element(all_layers.begin(), all_layers.end());
    mx::LogitsOptions without;
    without.policy.ban = {static_cast<int>(busiest - all_layers.begin())};
    std::printf("loss %.4f; without expert %d: %.4f\n", loss, without.policy.ban[0],
                Loss(model, tokens, without));
  } catch (const mx::Error& error) {
    return std::fprintf(stderr, "routing: %s\n", error.what()), 2;
  }
}

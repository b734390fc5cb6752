// SPDX-License-Identifier: Apache-2.0
// The two layers take turns, and the best round of each counts, so that a busy machine disturbs
// both alike.
#include "train/layer_bench.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <functional>

#include "train/gemm_peak.h"
#include "train/moe_layer.h"

namespace mixtral::train {
namespace {

using Layer = std::function<Tensor()>;

/// Peak resident bytes since the last call of ResetPeak; 0 where /proc does not say.
double PeakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmHWM:" && status >> kib) return 1024 * kib;
  }
  return 0;
}

void ResetPeak() { std::ofstream("/proc/self/clear_refs") << 5; }

struct Measured {
  double seconds = 1e30, cpu_seconds = 1e30, peak_bytes = 0;
};

void Run(const Layer& layer, const std::vector<Tensor>& leaves) {
  layer().sum().backward();
  for (Tensor leaf : leaves) leaf.mutable_grad() = Tensor();
}

/// Of the first run, with a heap that kept nothing from before.
double PeakOf(const Layer& layer, const std::vector<Tensor>& leaves) {
  malloc_trim(0);
  ResetPeak();
  const double before = PeakBytes();
  Run(layer, leaves);
  return PeakBytes() - before;
}

void Round(const Layer& layer, const std::vector<Tensor>& leaves, Measured* measured) {
  const auto begin = std::chrono::steady_clock::now();
  const std::clock_t cpu_begin = std::clock();
  Run(layer, leaves);
  measured->cpu_seconds = std::min(measured->cpu_seconds,
                                   static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  measured->seconds = std::min(measured->seconds, seconds);
}

}  // namespace

std::string BenchLayer(const BenchShape& shape) {
  torch::manual_seed(1);
  ExpertTensors experts;
  std::vector<Tensor> leaves;
  const auto leaf = [&](int64_t rows, int64_t cols) {
    leaves.push_back((torch::randn({rows, cols}) * 0.02).set_requires_grad(true));
    return leaves.back();
  };
  for (int64_t e = 0; e < shape.n_experts; ++e) {
    experts.gate.push_back(leaf(shape.ffn_dim, shape.dim));
    experts.up.push_back(leaf(shape.ffn_dim, shape.dim));
    experts.down.push_back(leaf(shape.dim, shape.ffn_dim));
  }
  const Tensor x = leaf(shape.n_tokens, shape.dim);
  const Tensor logits = leaf(shape.n_tokens, shape.n_experts);
  const Tensor ids = std::get<0>(std::get<1>(logits.detach().topk(shape.top_k, 1)).sort(1));
  const auto weights = [&] { return logits.gather(1, ids).softmax(1); };
  const Layer dropless = [&] {
    return DroplessExperts(x, ids, weights(), experts, torch::kFloat32);
  };
  const Layer naive = [&] { return NaiveExperts(x, ids, weights(), experts); };
  Measured fast, slow;
  fast.peak_bytes = PeakOf(dropless, leaves);
  slow.peak_bytes = PeakOf(naive, leaves);
  double peak = 0;
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    Round(dropless, leaves, &fast);
    Round(naive, leaves, &slow);
    peak = std::max(peak, GemmPeak());
  }
  const double flops = 3.0 * 2 * 3 * static_cast<double>(shape.n_tokens * shape.top_k) *
                       static_cast<double>(shape.dim * shape.ffn_dim);
  const auto line = [&](const char* name, const Measured& measured) {
    return fmt::format("{:<10}{:>12.0f}{:>14.1f}{:>14.2f}{:>14.1f}\n", name,
                       static_cast<double>(shape.n_tokens) / measured.seconds,
                       100 * flops / measured.seconds / peak, 1e3 * measured.cpu_seconds,
                       measured.peak_bytes / 1e6);
  };
  return fmt::format(
             "one layer, forward and backward: dim {}, hidden {}, {} experts, top {}, {} tokens, "
             "f32, {} threads; GEMM peak {:.1f} GFLOP/s\n",
             shape.dim, shape.ffn_dim, shape.n_experts, shape.top_k, shape.n_tokens,
             torch::get_num_threads(), peak / 1e9) +
         fmt::format("{:<10}{:>12}{:>14}{:>14}{:>14}\n", "layer", "tokens/s", "% of peak", "CPU ms",
                     "peak MB") +
         line("dropless", fast) + line("naive", slow) +
         fmt::format("dropless is {:.2f} times as fast, {:.2f} times by processor time\n",
                     slow.seconds / fast.seconds, slow.cpu_seconds / fast.cpu_seconds);
}

}  // namespace mixtral::train

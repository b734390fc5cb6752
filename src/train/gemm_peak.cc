// SPDX-License-Identifier: Apache-2.0
// See gemm_peak.h.
#include "train/gemm_peak.h"

#include <algorithm>
#include <chrono>

#include "train/torch.h"

namespace mixtral::train {

double GemmPeak() {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kSize = 1024;
  const Tensor a = torch::full({kSize, kSize}, 0.5), b = torch::full({kSize, kSize}, 0.25);
  Tensor c = torch::empty({kSize, kSize});
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    torch::mm_out(c, a, b);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds);
  }
  return best;
}

}  // namespace mixtral::train

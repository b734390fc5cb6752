// SPDX-License-Identifier: Apache-2.0
// The experts of one layer in f32 on the CPU, forwards and backwards: gather, three products,
// SwiGLU and the routing weight of one expert's rows in one task, tasks spread over threads. No
// LibTorch here: products are BLAS's sgemm. Called by moe_layer.cc alone, which has the general way
// too.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace mixtral::train {

/// fn(worker) for every worker in 0..n-1, at the same time; returns when all are done.
using RunWorkers = std::function<void(int n, const std::function<void(int)>& fn)>;

/// Rows sorted by expert: M = N * K of them. Nothing is owned.
struct ExpertRows {
  int64_t dim = 0, ffn_dim = 0, n_tokens = 0, top_k = 0;
  const std::vector<int64_t>* counts = nullptr;  // [E] rows per expert
  const int64_t* token_of = nullptr;             // [M]
  const int64_t* slot_of = nullptr;              // [M] token * K + k
  const int64_t* row_of = nullptr;               // [N * K], the inverse of slot_of
};

/// One expert's matrices: gate, up [F, D], down [D, F], row-major.
struct ExpertWeights {
  const float *gate = nullptr, *up = nullptr, *down = nullptr;
};

/// Where one expert's gradients go, overwritten; null: not wanted.
struct ExpertGradients {
  float *gate_up = nullptr, *down = nullptr;  // [2F, D] (gate's rows, then up's), [D, F]
};

/// x [N, D], weights [N, K] -> out [N, D] = sum over k of weight * down(silu(gate x) * up x), added
/// by ascending row of slot. gate_up [M, 2F] is what the backward pass needs.
void ExpertsForward(const ExpertRows& rows, const std::vector<ExpertWeights>& experts,
                    const float* x, const float* weights, float* gate_up, float* out, int n_workers,
                    const RunWorkers& run);

/// d_out [N, D] -> d_x [N, D], d_weights [N, K] and the experts' gradients. An expert without rows
/// is not touched.
void ExpertsBackward(const ExpertRows& rows, const std::vector<ExpertWeights>& experts,
                     const std::vector<ExpertGradients>& gradients, const float* x,
                     const float* weights, const float* gate_up, const float* d_out, float* d_x,
                     float* d_weights, int n_workers, const RunWorkers& run);

}  // namespace mixtral::train

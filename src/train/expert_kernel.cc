// SPDX-License-Identifier: Apache-2.0
// A task is one expert, so nobody else adds to its gradients; per token sums are a second pass by
// the inverse permutation, always in the same order. The weight of the routing is applied to hidden
// rows in the backward pass: its own gradient is then a dot product over hidden values, and the
// experts' outputs need not be kept.
#include "train/expert_kernel.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <numeric>

#include "train/blas_threads.h"

// The oldest interface there is: every BLAS has it, whatever LibTorch was built with.
extern "C" void sgemm_(const char* trans_a, const char* trans_b, const int* m, const int* n,
                       const int* k, const float* alpha, const float* a, const int* lda,
                       const float* b, const int* ldb, const float* beta, float* c, const int* ldc);

namespace mixtral::train {
namespace {

enum class Side : char { kAsIs = 'N', kTransposed = 'T' };

struct Matrix {
  const float* data;
  int64_t stride;
  Side side = Side::kAsIs;
};

enum class Sum : uint8_t { kNew, kAdded };

/// c [m, n] = a [m, k] times b [k, n], or is added to it; row-major, which BLAS sees as c' = b' a'.
void Multiply(const Matrix& a, const Matrix& b, int64_t m, int64_t n, int64_t k, Sum sum, float* c,
              int64_t stride) {
  if (sum == Sum::kNew) {
    for (int64_t i = 0; i < m; ++i) std::fill_n(c + i * stride, n, 0.0F);
  }
  const int rows = static_cast<int>(m), cols = static_cast<int>(n), inner = static_cast<int>(k);
  const int lda = static_cast<int>(a.stride), ldb = static_cast<int>(b.stride);
  const int ldc = static_cast<int>(stride);
  const float one = 1;
  const char ta = static_cast<char>(a.side), tb = static_cast<char>(b.side);
  sgemm_(&tb, &ta, &cols, &rows, &inner, &one, b.data, &ldb, a.data, &lda, &one, c, &ldc);
}

/// exp with a relative error below 3e-7, in steps that a compiler turns into vectors. NaN stays.
inline float Exp(float x) {
  x = x > 88.0F ? 88.0F : x;
  x = x < -87.0F ? -87.0F : x;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  float p = 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const int exponent = std::bit_cast<int>(shifted) - std::bit_cast<int>(kRound);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}

/// gate_up [n, 2F] -> hidden [n, F] = silu(gate) * up
void Swiglu(const float* gate_up, int64_t n, int64_t ffn, float* hidden) {
  for (int64_t i = 0; i < n; ++i) {
    const float* __restrict gate = gate_up + i * 2 * ffn;
    const float* __restrict up = gate + ffn;
    float* __restrict out = hidden + i * ffn;
    for (int64_t f = 0; f < ffn; ++f) out[f] = gate[f] / (1.0F + Exp(-gate[f])) * up[f];
  }
}

/// One row of the backward pass. d_hidden [F]: gradient of hidden but for the routing weight. Out:
/// d_gate, d_up [F], and hidden * weight in place of d_hidden. Returns the routing weight's.
float SwigluBackward(const float* __restrict gate, const float* __restrict up, float weight,
                     int64_t ffn, float* __restrict d_hidden, float* __restrict d_gate,
                     float* __restrict d_up) {
  constexpr int64_t kLanes = 8;  // partial sums: an order that does not depend on the compiler
  float sums[kLanes] = {};
  const auto one = [&](int64_t f, int64_t lane) {
    const float sigmoid = 1.0F / (1.0F + Exp(-gate[f]));
    const float silu = gate[f] * sigmoid;
    const float hidden = silu * up[f];
    sums[lane] += d_hidden[f] * hidden;
    const float d = d_hidden[f] * weight;
    d_up[f] = d * silu;
    d_gate[f] = d * up[f] * (sigmoid + silu * (1.0F - sigmoid));
    d_hidden[f] = hidden * weight;
  };
  const int64_t whole = ffn / kLanes * kLanes;
  for (int64_t f = 0; f < whole; f += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) one(f + lane, lane);
  }
  for (int64_t f = whole; f < ffn; ++f) one(f, f - whole);
  return std::accumulate(sums, sums + kLanes, 0.0F);
}

/// Rows of one expert.
struct Task {
  size_t expert;
  int64_t begin, n;
};

/// Neighbouring rows of a task.
struct Block {
  size_t expert;
  int64_t begin, n;
  bool first;  // of its task
};

/// Rows that go through all products before the next ones do: what lies between the products stays
/// in the second-level cache, and a sum over rows is cut where a BLAS's own blocks overflow it. 512
/// rows and more were three times slower in the products of small experts on Zen 1; of large
/// matrices a block must be worth packing them for.
int64_t RowsPerBlock(const ExpertRows& rows) {
  constexpr int64_t kSmall = 1 << 16;
  return rows.dim * rows.ffn_dim <= kSmall ? 128 : 512;
}

/// The largest first, so that the last ones to be taken are small.
std::vector<Task> TasksOf(const std::vector<int64_t>& counts) {
  std::vector<Task> tasks;
  int64_t begin = 0;
  for (size_t e = 0; e < counts.size(); begin += counts[e++]) {
    if (counts[e] > 0) tasks.push_back({e, begin, counts[e]});
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task& a, const Task& b) { return a.n > b.n; });
  return tasks;
}

/// fn(block, scratch) for every block of every task, those of one task in order; scratch
/// [rows of a block * floats_per_row]. With fewer tasks than threads they run one after the other,
/// and BLAS may use all threads for each.
template <typename Function>
void ForBlocks(const ExpertRows& rows, int64_t floats_per_row, int n_workers, const RunWorkers& run,
               const Function& fn) {
  const std::vector<Task> tasks = TasksOf(*rows.counts);
  if (tasks.empty()) return;
  const int64_t n_rows = RowsPerBlock(rows);
  const auto floats = static_cast<size_t>(n_rows * floats_per_row);
  const int n = tasks.size() < static_cast<size_t>(n_workers) ? 1 : n_workers;
  std::vector<std::unique_ptr<float[]>> scratch(static_cast<size_t>(n));
  for (auto& block : scratch) block = std::unique_ptr<float[]>(new float[floats]);
  const auto all_blocks = [&](const Task& task, float* block_scratch) {
    for (int64_t done = 0; done < task.n; done += n_rows)
      fn(Block{task.expert, task.begin + done, std::min(n_rows, task.n - done), done == 0},
         block_scratch);
  };
  if (n == 1) {
    for (const Task& task : tasks) all_blocks(task, scratch[0].get());
    return;
  }
  const OneBlasThread one_thread;
  std::atomic<size_t> next = 0;
  run(n, [&](int worker) {
    for (size_t i = next++; i < tasks.size(); i = next++)
      all_blocks(tasks[i], scratch[static_cast<size_t>(worker)].get());
  });
}

/// fn(begin, end) for the tokens, a stretch to each worker.
template <typename Function>
void ForTokens(int64_t n_tokens, int n_workers, const RunWorkers& run, const Function& fn) {
  if (n_workers == 1) return fn(int64_t{0}, n_tokens);
  run(n_workers,
      [&](int worker) { fn(n_tokens * worker / n_workers, n_tokens * (worker + 1) / n_workers); });
}

/// Rows token_of[begin..begin+n) of x [N, D].
void Gather(const ExpertRows& rows, const Block& block, const float* x, float* out) {
  for (int64_t i = 0; i < block.n; ++i)
    std::copy_n(x + rows.token_of[block.begin + i] * rows.dim, rows.dim, out + i * rows.dim);
}

/// out [N, D] = sum over k of scale * sorted[row_of(token, k)]; scale [N, K], null: 1.
void SumSlots(const ExpertRows& rows, const float* sorted, const float* scale, int64_t begin,
              int64_t end, float* out) {
  for (int64_t token = begin; token < end; ++token) {
    float* __restrict to = out + token * rows.dim;
    for (int64_t k = 0; k < rows.top_k; ++k) {
      const int64_t slot = token * rows.top_k + k;
      const float* __restrict from = sorted + rows.row_of[slot] * rows.dim;
      const float factor = scale == nullptr ? 1.0F : scale[slot];
      if (k == 0)
        for (int64_t d = 0; d < rows.dim; ++d) to[d] = factor * from[d];
      else
        for (int64_t d = 0; d < rows.dim; ++d) to[d] += factor * from[d];
    }
  }
}

std::unique_ptr<float[]> Floats(int64_t floats) {
  return std::unique_ptr<float[]>(new float[static_cast<size_t>(floats)]);
}

}  // namespace

void ExpertsForward(const ExpertRows& rows, const std::vector<ExpertWeights>& experts,
                    const float* x, const float* weights, float* gate_up, float* out, int n_workers,
                    const RunWorkers& run) {
  const int64_t dim = rows.dim, ffn = rows.ffn_dim;
  const auto sorted = Floats(rows.n_tokens * rows.top_k * dim);
  const auto forward = [&](const Block& block, float* scratch) {
    const ExpertWeights& expert = experts[block.expert];
    float* const in = scratch;                      // [n, D]
    float* const hidden = scratch + block.n * dim;  // [n, F]
    float* const both = gate_up + block.begin * 2 * ffn;
    Gather(rows, block, x, in);
    Multiply({in, dim}, {expert.gate, dim, Side::kTransposed}, block.n, ffn, dim, Sum::kNew, both,
             2 * ffn);
    Multiply({in, dim}, {expert.up, dim, Side::kTransposed}, block.n, ffn, dim, Sum::kNew,
             both + ffn, 2 * ffn);
    Swiglu(both, block.n, ffn, hidden);
    Multiply({hidden, ffn}, {expert.down, ffn, Side::kTransposed}, block.n, dim, ffn, Sum::kNew,
             sorted.get() + block.begin * dim, dim);
  };
  ForBlocks(rows, dim + ffn, n_workers, run, forward);
  ForTokens(rows.n_tokens, n_workers, run, [&](int64_t begin, int64_t end) {
    SumSlots(rows, sorted.get(), weights, begin, end, out);
  });
}

void ExpertsBackward(const ExpertRows& rows, const std::vector<ExpertWeights>& experts,
                     const std::vector<ExpertGradients>& gradients, const float* x,
                     const float* weights, const float* gate_up, const float* d_out, float* d_x,
                     float* d_weights, int n_workers, const RunWorkers& run) {
  const int64_t dim = rows.dim, ffn = rows.ffn_dim;
  const auto sorted = Floats(rows.n_tokens * rows.top_k * dim);
  const auto backward = [&](const Block& block, float* scratch) {
    const ExpertWeights& expert = experts[block.expert];
    const ExpertGradients& wanted = gradients[block.expert];
    const int64_t n = block.n;
    const Sum sum = block.first ? Sum::kNew : Sum::kAdded;  // gradients of the blocks before
    float* const in = scratch;                              // [n, D]
    float* const d_rows = in + n * dim;                     // [n, D]
    float* const hidden = d_rows + n * dim;                 // [n, F]
    float* const d_both = hidden + n * ffn;                 // [n, 2F]
    Gather(rows, block, d_out, d_rows);
    Multiply({d_rows, dim}, {expert.down, ffn}, n, ffn, dim, Sum::kNew, hidden, ffn);
    for (int64_t i = 0; i < n; ++i) {
      const float* gate = gate_up + (block.begin + i) * 2 * ffn;
      float* d_gate = d_both + i * 2 * ffn;
      const int64_t slot = rows.slot_of[block.begin + i];
      d_weights[slot] = SwigluBackward(gate, gate + ffn, weights[slot], ffn, hidden + i * ffn,
                                       d_gate, d_gate + ffn);
    }
    if (wanted.down != nullptr)
      Multiply({d_rows, dim, Side::kTransposed}, {hidden, ffn}, dim, ffn, n, sum, wanted.down, ffn);
    if (wanted.gate_up != nullptr) {
      Gather(rows, block, x, in);
      Multiply({d_both, 2 * ffn, Side::kTransposed}, {in, dim}, 2 * ffn, dim, n, sum,
               wanted.gate_up, dim);
    }
    float* const d_in = sorted.get() + block.begin * dim;
    Multiply({d_both, 2 * ffn}, {expert.gate, dim}, n, dim, ffn, Sum::kNew, d_in, dim);
    Multiply({d_both + ffn, 2 * ffn}, {expert.up, dim}, n, dim, ffn, Sum::kAdded, d_in, dim);
  };
  ForBlocks(rows, 2 * dim + 3 * ffn, n_workers, run, backward);
  ForTokens(rows.n_tokens, n_workers, run, [&](int64_t begin, int64_t end) {
    SumSlots(rows, sorted.get(), nullptr, begin, end, d_x);
  });
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// The operations of a transformer on a device. model/transformer.cc is the only caller of the ops,
// model/loader.cc of Upload. An Activation is memory of the device; only CPU code may look into one
// without CopyToHost. No op allocates: everything is sized by Prepare. All results are independent
// of threads and of batch neighbours.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/kv_view.h"
#include "moe/expert_store.h"
#include "moe/routing.h"
#include "tensor/view.h"

namespace mixtral {

using Activation = Matrix<float>;

enum class ComputeMode : uint8_t {
  kFast,
  kExact
};  // docs/kernels.md; exact = f32 activations everywhere
enum class RopeOrder : uint8_t {
  kInterleaved,
  kHalf
};  // row order of q and k in the checkpoint (spec/fixups.h)

/// What Prepare sizes the scratch for, and what is the same in every step.
struct BackendSetup {
  int max_batch_tokens = 0;  // rows of one forward step
  int max_slots = 0;         // token-expert assignments of one step (max_batch_tokens * k)
  int dim = 0, ffn_dim = 0, n_experts = 0, max_k = 0;
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  float rope_theta = 0;
  RopeOrder rope_order = RopeOrder::kInterleaved;
};

struct AttendArgs {
  Activation q;  // [T, H*P] rotated and scaled
  std::span<const RowRange> ranges;
  std::span<const KvView> views;  // per range, this layer
  int64_t sliding_window = 0;     // 0 = none; else position p sees (p - window, p]
  Activation out;                 // [T, H*P]
};

struct MoeFfnArgs {
  Activation x;      // [T, D] normed input
  WeightRef router;  // [E, D]; empty: dense, expert 0 for all
  ExpertStore* store = nullptr;
  int layer = 0;
  int experts_per_token = 0;
  std::span<const RoutingPolicy* const> row_policies;  // [T] or empty
  Activation
      out;  // [T, D]; every row is overwritten: sum of weight * expert(x), ascending expert id
  Matrix<float> router_logits;  // host [T, E]; filled always (empty for a dense FFN)
};

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- load ----
  /// A matrix as it is (the CPU keeps the mapped bytes, nothing is copied).
  virtual WeightRef Upload(const TensorView& view) = 0;
  /// A vector converted to f32 (norm weights).
  virtual WeightRef UploadAsF32(const TensorView& view) = 0;
  virtual void Prepare(const BackendSetup& setup) = 0;
  /// Memory that lives as long as the backend. Throws Error{kOutOfMemory}.
  virtual Activation AllocActivation(int64_t rows, int64_t cols) = 0;
  /// Cache memory that the caller gives back. Throws Error{kOutOfMemory}.
  virtual std::byte* AllocCache(size_t bytes) = 0;
  virtual void FreeCache(std::byte* memory) = 0;

  // ---- forward ----
  virtual void Embed(const WeightRef& table, std::span<const int32_t> tokens,
                     Activation out) = 0;  // [V,D] -> [T,D]
  virtual void RmsNorm(Activation x, const WeightRef& weight, float eps, Activation out) = 0;
  /// outs[i] = x . weights[i]^T. One x for several matrices (q, k, v) is converted once.
  virtual void MatMul(std::span<const WeightRef> weights, Activation x,
                      std::span<const Activation> outs) = 0;
  /// Rotates q in place (scaled by P^-0.5) and k, and writes k and v to their pages. positions [T].
  virtual void RopeAndStore(Activation q, Activation k, Activation v,
                            std::span<const int64_t> positions, std::span<const RowRange> ranges,
                            std::span<const KvView> views) = 0;
  virtual void Attend(const AttendArgs& args) = 0;
  /// Returns the routing, valid until the next call.
  virtual Routing MoeFfn(const MoeFfnArgs& args) = 0;
  virtual void Add(Activation x, Activation y) = 0;  // y += x
  /// out[i] = x[rows[i]]
  virtual void GatherRows(Activation x, std::span<const int32_t> rows, Activation out) = 0;
  virtual void CopyToHost(Activation x, float* out) = 0;  // [rows * cols]
};

/// Throws Error{kInvalidArgument} when MIXTRAL_ISA names a set that is unknown or that this CPU
/// lacks.
std::unique_ptr<Backend> MakeCpuBackend(int n_threads, ComputeMode mode);

}  // namespace mixtral

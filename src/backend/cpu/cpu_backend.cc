// SPDX-License-Identifier: Apache-2.0
// The Backend on CPU cores: every operation is a split into tasks and one call of a kernel slot.
// Larger operations are in matmul.cc, attend.cc and moe_ffn.cc. Weights stay in the mapped file.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/ops.h"
#include "base/check.h"
#include "base/error.h"

namespace mixtral {
namespace {

/// Rows and columns of a matrix of a checkpoint, or of a vector as one row.
WeightRef RefOf(const TensorView& view) {
  if (view.rank != 1 && view.rank != 2)
    Throw(ErrorCode::kUnsupported, "weight: expected 1 or 2 dimensions, found {}", view.rank);
  if (view.dtype == DType::kI32)
    Throw(ErrorCode::kUnsupported, "weight: expected a floating-point or quantised type, found {}",
          Name(view.dtype));
  WeightRef ref;
  ref.dtype = view.dtype;
  ref.rows = view.rank == 1 ? 1 : view.shape[0];
  ref.cols = view.shape[static_cast<size_t>(view.rank - 1)];
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;  // kernels count in int
  if (ref.rows <= 0 || ref.cols <= 0 || ref.rows > kMost || ref.cols > kMost)
    Throw(ErrorCode::kCorrupt, "weight: expected 1..{} rows and columns, found [{}, {}]", kMost,
          ref.rows, ref.cols);
  const int block = Info(view.dtype).block_elements;
  if (ref.cols % block != 0)
    Throw(ErrorCode::kCorrupt,
          "weight of type {}: expected rows of whole blocks of {}, found {} columns",
          Name(view.dtype), block, ref.cols);
  ref.row_bytes = RowBytes(view.dtype, ref.cols);
  if (view.bytes.size() / ref.row_bytes < static_cast<size_t>(ref.rows))
    Throw(ErrorCode::kCorrupt, "weight: expected {} rows of {} bytes, found {} bytes", ref.rows,
          ref.row_bytes, view.bytes.size());
  ref.data = view.bytes.data();
  return ref;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const kernels::KernelTable* kernels, kernels::Compute compute, int n_threads)
      : context_{kernels, compute, ThreadPool(n_threads), {}, {}} {}

  WeightRef Upload(const TensorView& view) override { return RefOf(view); }
  WeightRef UploadAsF32(const TensorView& view) override;
  void Prepare(const BackendSetup& setup) override {
    context_.work.reset();
    context_.setup = setup;
    context_.work.emplace(setup, context_.pool.n_threads(), *context_.kernels);
  }
  Activation AllocActivation(int64_t rows, int64_t cols) override;
  std::byte* AllocCache(size_t bytes) override {
    caches_.emplace_back(bytes);
    return caches_.back().data();
  }
  void FreeCache(std::byte* memory) override {
    std::erase_if(caches_, [&](const AlignedBuffer& cache) { return cache.data() == memory; });
  }

  void Embed(const WeightRef& table, std::span<const int32_t> tokens, Activation out) override;
  void RmsNorm(Activation x, const WeightRef& weight, float eps, Activation out) override;
  void MatMul(std::span<const WeightRef> weights, Activation x,
              std::span<const Activation> outs) override {
    cpu::MatMul(context_, weights, x, outs);
  }
  void RopeAndStore(Activation q, Activation k, Activation v, std::span<const int64_t> positions,
                    std::span<const RowRange> ranges, std::span<const KvView> views) override {
    cpu::RopeAndStore(context_, q, k, v, positions, ranges, views);
  }
  void Attend(const AttendArgs& args) override { cpu::Attend(context_, args); }
  Routing MoeFfn(const MoeFfnArgs& args) override { return cpu::MoeFfn(context_, args); }
  void Add(Activation x, Activation y) override;
  void GatherRows(Activation x, std::span<const int32_t> rows, Activation out) override;
  void CopyToHost(Activation x, float* out) override;

 private:
  cpu::Context context_;
  std::vector<AlignedBuffer> owned_;  // converted weights and activations
  std::vector<AlignedBuffer> caches_;
};

WeightRef CpuBackend::UploadAsF32(const TensorView& view) {
  const WeightRef source = RefOf(view);
  const auto row_bytes = static_cast<size_t>(source.cols) * sizeof(float);
  size_t bytes = 0;
  if (__builtin_mul_overflow(row_bytes, static_cast<size_t>(source.rows), &bytes))
    Throw(ErrorCode::kOutOfMemory, "weight as f32: expected a size that fits memory, found {} x {}",
          source.rows, row_bytes);
  std::byte* data = owned_.emplace_back(bytes).data();
  for (int64_t r = 0; r < source.rows; ++r)
    context_.kernels->to_f32[Index(source.dtype)].fn(
        static_cast<const std::byte*>(source.data) + static_cast<size_t>(r) * source.row_bytes,
        static_cast<int>(source.cols),
        reinterpret_cast<float*>(data + static_cast<size_t>(r) * row_bytes));
  return {Device::kCpu, DType::kF32, source.rows, source.cols, data, row_bytes};
}

Activation CpuBackend::AllocActivation(int64_t rows, int64_t cols) {
  Check(rows >= 0 && cols >= 0, "AllocActivation: a shape");
  const auto stride = static_cast<int64_t>(AlignUp(static_cast<size_t>(cols), 16));  // 64 bytes
  size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<size_t>(rows) * sizeof(float), static_cast<size_t>(stride),
                             &bytes))
    Throw(ErrorCode::kOutOfMemory, "activations: expected a size that fits memory, found {} x {}",
          rows, cols);
  float* data = reinterpret_cast<float*>(owned_.emplace_back(bytes).data());
  return {data, rows, cols, stride};
}

void CpuBackend::Embed(const WeightRef& table, std::span<const int32_t> tokens, Activation out) {
  Check(out.rows == static_cast<int64_t>(tokens.size()) && out.cols == table.cols, "Embed: shapes");
  for (const int32_t token : tokens)
    Check(token >= 0 && token < table.rows, "Embed: token ids were checked with the batch");
  const auto to_f32 = context_.kernels->to_f32[Index(table.dtype)].fn;
  cpu::ForRows(context_, out.rows, out.cols, [&](int64_t begin, int64_t end, int) noexcept {
    for (int64_t t = begin; t < end; ++t) {
      const auto row = static_cast<size_t>(tokens[static_cast<size_t>(t)]);
      to_f32(static_cast<const std::byte*>(table.data) + row * table.row_bytes,
             static_cast<int>(table.cols), out.Row(t));
    }
  });
}

void CpuBackend::RmsNorm(Activation x, const WeightRef& weight, float eps, Activation out) {
  Check(weight.dtype == DType::kF32 && weight.cols == x.cols && out.rows == x.rows &&
            out.cols == x.cols,
        "RmsNorm: shapes");
  const auto* scale = static_cast<const float*>(weight.data);
  cpu::ForRows(context_, x.rows, x.cols, [&](int64_t begin, int64_t end, int) noexcept {
    for (int64_t t = begin; t < end; ++t)
      context_.kernels->rms_norm.fn(x.Row(t), scale, eps, static_cast<int>(x.cols), out.Row(t));
  });
}

void CpuBackend::Add(Activation x, Activation y) {
  Check(x.rows == y.rows && x.cols == y.cols, "Add: shapes");
  cpu::ForRows(context_, x.rows, x.cols, [&](int64_t begin, int64_t end, int) noexcept {
    for (int64_t t = begin; t < end; ++t)
      context_.kernels->add_scaled.fn(x.Row(t), 1.0f, static_cast<int>(x.cols), y.Row(t));
  });
}

void CpuBackend::GatherRows(Activation x, std::span<const int32_t> rows, Activation out) {
  Check(out.rows == static_cast<int64_t>(rows.size()) && out.cols == x.cols, "GatherRows: shapes");
  for (const int32_t row : rows) Check(row >= 0 && row < x.rows, "GatherRows: a row of x");
  cpu::ForRows(context_, out.rows, out.cols, [&](int64_t begin, int64_t end, int) noexcept {
    for (int64_t i = begin; i < end; ++i)
      std::copy_n(x.Row(rows[static_cast<size_t>(i)]), x.cols, out.Row(i));
  });
}

void CpuBackend::CopyToHost(Activation x, float* out) {
  for (int64_t t = 0; t < x.rows; ++t) std::copy_n(x.Row(t), x.cols, out + t * x.cols);
}

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(int n_threads, ComputeMode mode) {
  if (n_threads < 1)
    Throw(ErrorCode::kInvalidArgument, "threads: expected at least 1, found {}", n_threads);
  const char* problem = nullptr;
  const kernels::KernelTable* kernels = kernels::ActiveKernels(&problem);
  if (kernels == nullptr)
    Throw(ErrorCode::kInvalidArgument, "{}", problem == nullptr ? "no kernels" : problem);
  const auto compute =
      mode == ComputeMode::kExact ? kernels::Compute::kExact : kernels::Compute::kFast;
  return std::make_unique<CpuBackend>(kernels, compute, n_threads);
}

}  // namespace mixtral

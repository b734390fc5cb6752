// SPDX-License-Identifier: Apache-2.0
// Speed of every matrix slot of every ISA that this host runs, at the shapes of Mixtral 8x7B, on
// one thread; and the two ceilings of the machine (int8 arithmetic out of registers, reading
// memory). docs/kernels.md quotes it. Names: gemm/TYPE/ISA/MATRIX/TOKENS, gemv/TYPE/ISA/MATRIX,
// pack/TYPE/ISA/MATRIX, attend/TYPE/ISA/QUERIES; "exact" stands before a type in Compute::kExact.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "tensor/block_formats.h"

namespace mixtral::bench {
namespace {

using kernels::Compute;
using kernels::Isa;
using kernels::MatrixSlots;

constexpr size_t kWorkingSet = size_t{256} << 20;  // bytes of weights, above any L3 we know

struct Shape {
  const char* name;
  int rows, cols;
};
constexpr Shape kShapes[] = {{"gate", 14336, 4096}, {"down", 4096, 14336}};

/// Random bytes, with every f16 of a block a number between 2^-7 and 2^-5.
std::vector<std::byte> RandomWeights(DType dtype, int64_t n_blocks) {
  const auto block_bytes = static_cast<size_t>(Info(dtype).block_bytes);
  std::vector<std::byte> weights(static_cast<size_t>(n_blocks) * block_bytes);
  std::mt19937_64 random(7);
  for (size_t i = 0; i + 8 <= weights.size(); i += 8) {
    const uint64_t bits = random();
    std::memcpy(&weights[i], &bits, 8);
  }
  for (size_t i = 0; i < weights.size(); i += block_bytes) {
    const auto scale = F32ToF16(0x1p-7f * (1 + static_cast<float>(random() % 3000) / 1000));
    const BlockFormat& format = kBlockFormats[Index(dtype)];
    if (dtype == DType::kF32) {
      const float value = F16ToF32(scale);
      std::memcpy(&weights[i], &value, 4);
    } else {
      std::memcpy(&weights[i + static_cast<size_t>(format.d_at)], &scale, 2);
      if (format.m_at >= 0) std::memcpy(&weights[i + static_cast<size_t>(format.m_at)], &scale, 2);
    }
  }
  return weights;
}

struct AlignedBytes {
  explicit AlignedBytes(size_t n) : storage(n + 64) {}
  std::byte* data() {
    return storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  }
  std::vector<std::byte> storage;
};

/// n rows of activations in the form of the slots.
AlignedBytes Activations(const MatrixSlots& slots, int cols, int n) {
  AlignedBytes acts(kernels::LayoutOf(slots.act_form, cols).row_bytes * static_cast<size_t>(n));
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(cols) * static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  slots.quantize_rows.fn({x.data(), cols, acts.data(), n, cols});
  return acts;
}

struct Case {
  DType dtype;
  Compute compute;
  Isa isa;
  Shape shape;
};

/// Scalar kernels are a hundred times slower; a sixteenth of the rows tells as much.
int RowsOf(const Case& c) { return c.isa == Isa::kScalar ? c.shape.rows / 16 : c.shape.rows; }

void Gemm(benchmark::State& state, const Case& c, int n_tokens) {
  const kernels::KernelTable table = kernels::BuildTable(c.isa);
  const MatrixSlots& slots = table.Matrix(c.compute, c.dtype);
  const int rows = RowsOf(c), cols = c.shape.cols;
  const size_t row_bytes = RowBytes(c.dtype, cols);
  const auto weights = RandomWeights(c.dtype, int64_t{rows} * cols / Info(c.dtype).block_elements);
  AlignedBytes tile(slots.tile_bytes(cols)), acts = Activations(slots, cols, n_tokens);
  std::vector<float> out(static_cast<size_t>(rows) * static_cast<size_t>(n_tokens));
  for (auto _ : state) {
    for (int r = 0; r < rows; r += 16) {
      const std::byte* w = weights.data() + static_cast<size_t>(r) * row_bytes;
      slots.pack_tile.fn({w, row_bytes, 16, cols, tile.data()});
      slots.gemm_tile.fn({tile.data(), 16, cols, acts.data(),
                          kernels::LayoutOf(slots.act_form, cols).row_bytes, nullptr, n_tokens,
                          out.data() + r, rows});
    }
    benchmark::ClobberMemory();
  }
  state.counters["Gop/s"] = benchmark::Counter(2e-9 * rows * cols * n_tokens,
                                               benchmark::Counter::kIsIterationInvariantRate);
}

void Pack(benchmark::State& state, const Case& c) {
  const kernels::KernelTable table = kernels::BuildTable(c.isa);
  const MatrixSlots& slots = table.Matrix(c.compute, c.dtype);
  const int rows = RowsOf(c), cols = c.shape.cols;
  const size_t row_bytes = RowBytes(c.dtype, cols);
  const auto weights = RandomWeights(c.dtype, int64_t{rows} * cols / Info(c.dtype).block_elements);
  AlignedBytes tile(slots.tile_bytes(cols));
  for (auto _ : state) {
    for (int r = 0; r < rows; r += 16) {
      const std::byte* w = weights.data() + static_cast<size_t>(r) * row_bytes;
      slots.pack_tile.fn({w, row_bytes, 16, cols, tile.data()});
    }
    benchmark::ClobberMemory();
  }
  state.counters["GB/s"] = benchmark::Counter(1e-9 * static_cast<double>(row_bytes) * rows,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void Gemv(benchmark::State& state, const Case& c) {
  const kernels::KernelTable table = kernels::BuildTable(c.isa);
  const MatrixSlots& slots = table.Matrix(c.compute, c.dtype);
  const int cols = c.shape.cols;
  const size_t row_bytes = RowBytes(c.dtype, cols);
  const size_t working_set = c.isa == Isa::kScalar ? kWorkingSet / 16 : kWorkingSet;
  const int rows = static_cast<int>(working_set / row_bytes) / 16 * 16;
  const auto weights = RandomWeights(c.dtype, int64_t{rows} * cols / Info(c.dtype).block_elements);
  AlignedBytes acts = Activations(slots, cols, 1);
  std::vector<float> out(static_cast<size_t>(rows));
  for (auto _ : state) {
    for (int r = 0; r < rows; r += 16)
      slots.gemv_rows.fn({weights.data() + static_cast<size_t>(r) * row_bytes, row_bytes, 16, cols,
                          acts.data(), out.data() + r});
    benchmark::ClobberMemory();
  }
  state.counters["GB/s"] = benchmark::Counter(1e-9 * static_cast<double>(row_bytes) * rows,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void RegisterCase(const Case& c) {
  const std::string name = std::string(c.compute == Compute::kExact ? "exact_" : "") +
                           std::string(Name(c.dtype)) + "/" + std::string(kernels::IsaName(c.isa)) +
                           "/" + c.shape.name;
  const auto unit = benchmark::kMillisecond;
  for (const int n_tokens : {1, 8, 64, 128}) {
    if (c.isa == Isa::kScalar && n_tokens > 8) continue;
    const std::string full = "gemm/" + name + "/" + std::to_string(n_tokens);
    benchmark::RegisterBenchmark(full.c_str(), Gemm, c, n_tokens)->Unit(unit);
  }
  benchmark::RegisterBenchmark(("pack/" + name).c_str(), Pack, c)->Unit(unit);
  benchmark::RegisterBenchmark(("gemv/" + name).c_str(), Gemv, c)->Unit(unit);
}

/// One tile, all of it visible, as Mixtral's heads have it; 4 operations per position and column.
void Attend(benchmark::State& state, DType type, Isa isa, int n_q) {
  constexpr int kHeadDim = 128, kPositions = kernels::kKvTile;
  const kernels::KernelTable table = kernels::BuildTable(isa);
  const auto cache = RandomWeights(type, kPositions * kHeadDim);
  const auto n = static_cast<size_t>(n_q);
  std::vector<float> q(n * kHeadDim, 0.01f), acc(n * kHeadDim);
  std::vector<float> maximum(n, -1e30f), denominator(n);
  const std::vector<int32_t> first(n, 0), last(n, kPositions);
  for (auto _ : state) {
    table.attend_tile[Index(type)].fn({q.data(), n_q, kHeadDim, cache.data(), cache.data(),
                                       first.data(), last.data(), maximum.data(),
                                       denominator.data(), acc.data()});
    benchmark::ClobberMemory();
  }
  state.counters["Gop/s"] = benchmark::Counter(4e-9 * n_q * kPositions * kHeadDim,
                                               benchmark::Counter::kIsIterationInvariantRate);
}

void RegisterAttend(Isa isa) {
  for (const DType type : {DType::kF32, DType::kF16}) {
    for (const int n_q : {1, 4, 64}) {
      const std::string name = "attend/" + std::string(Name(type)) + "/" +
                               std::string(kernels::IsaName(isa)) + "/" + std::to_string(n_q);
      benchmark::RegisterBenchmark(name.c_str(), Attend, type, isa, n_q);
    }
  }
}

void RegisterCeilings(Isa isa) {
  constexpr int64_t kPasses = 1000;
  constexpr std::array<const char*, kernels::kNumPeaks> kNames = {"int8", "int8_sum16", "f32"};
  const kernels::KernelTable table = kernels::BuildTable(isa);
  const std::string suffix = "/" + std::string(kernels::IsaName(isa));
  for (size_t i = 0; i < kNames.size(); ++i) {
    const auto arithmetic = [](benchmark::State& state, kernels::PeakFn* peak) {
      int64_t ops = 0;
      for (auto _ : state) ops = peak(kPasses);
      state.counters["Gop/s"] = benchmark::Counter(1e-9 * static_cast<double>(ops),
                                                   benchmark::Counter::kIsIterationInvariantRate);
    };
    benchmark::RegisterBenchmark(("ceiling/" + std::string(kNames[i]) + suffix).c_str(), arithmetic,
                                 table.peaks[i].fn);
  }
  const auto memory = [](benchmark::State& state, kernels::ReadWordsFn* read) {
    const std::vector<std::byte> bytes(kWorkingSet, std::byte{1});
    for (auto _ : state) benchmark::DoNotOptimize(read(bytes.data(), bytes.size()));
    state.counters["GB/s"] = benchmark::Counter(1e-9 * static_cast<double>(bytes.size()),
                                                benchmark::Counter::kIsIterationInvariantRate);
  };
  benchmark::RegisterBenchmark(("ceiling/read_memory" + suffix).c_str(), memory,
                               table.read_words.fn)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace mixtral::bench

int main(int argc, char** argv) {
  namespace k = mixtral::kernels;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const k::Isa isa : {k::Isa::kScalar, k::Isa::kAvx2}) {
    if (isa > k::HostIsa()) continue;
    mixtral::bench::RegisterCeilings(isa);
    mixtral::bench::RegisterAttend(isa);
    for (int i = 0; i < mixtral::kNumMatrixDTypes; ++i) {
      for (const mixtral::bench::Shape& shape : mixtral::bench::kShapes) {
        const auto dtype = static_cast<mixtral::DType>(i);
        mixtral::bench::RegisterCase({dtype, k::Compute::kFast, isa, shape});
        if (dtype == mixtral::DType::kQ4_K)
          mixtral::bench::RegisterCase({dtype, k::Compute::kExact, isa, shape});
      }
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Unpacks GPTQ's and AWQ's layouts (packed4_weights.h):
//   GPTQ: qweight I32 [in/8, out], value i of a word = input 8k+i; qzeros I32 [groups, out/8] in
//   the
//         natural order; stored zero points are one less than meant in its first version.
//   AWQ:  qweight I32 [in, out/8], qzeros I32 [groups, out/8], both with the eight outputs of a
//   word
//         in the order 0 2 4 6 1 3 5 7.
// scales [groups, out] in both.
#include "io/packed4_weights.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "io/shape.h"
#include "tensor/block_q4_0.h"
#include "tensor/block_q5_0.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr std::string_view kSuffix = ".qweight";
constexpr int64_t kBlock = 32;      // inputs of a Q4_0 or Q5_0 block
constexpr int64_t kTileRows = 128;  // outputs unpacked together: whole cache lines of both layouts
constexpr std::array<int, 8> kAwqNibble = {0, 4, 1, 5, 2, 6, 3, 7};  // of output j of a word

struct Packed {
  TensorView qweight, qzeros, scales;
  std::vector<int32_t> group_of;  // [cols]; empty: input k is in group k / group
  int64_t rows = 0, cols = 0, group = 0, n_groups = 0;
  QuantizationConfig config;

  bool IsAwq() const { return config.method == QuantMethod::kAwq; }
  int64_t GroupOf(int64_t k) const {
    return group_of.empty() ? k / group : group_of[static_cast<size_t>(k)];
  }
};

uint32_t Word(const TensorView& view, int64_t i) {
  return LoadUnaligned<uint32_t>(view.bytes.data() + i * 4);
}

int Zero(const Packed& p, int64_t g, int64_t row) {
  const auto j = static_cast<size_t>(row % 8);
  const int nibble = p.IsAwq() ? kAwqNibble[j] : static_cast<int>(j);
  const uint32_t word = Word(p.qzeros, g * (p.rows / 8) + row / 8);
  return static_cast<int>(word >> (4 * nibble) & 15) + p.config.zero_offset;
}

float Scale(const Packed& p, int64_t g, int64_t row) {
  const std::byte* at =
      p.scales.bytes.data() + (g * p.rows + row) * Info(p.scales.dtype).block_bytes;
  if (p.scales.dtype == DType::kF32) return LoadUnaligned<float>(at);
  const auto bits = LoadUnaligned<uint16_t>(at);
  return p.scales.dtype == DType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
}

using Tile = std::array<std::array<uint8_t, kTileRows>, kBlock>;  // [input][output], 0..15

/// Inputs k0 .. k0 + n_k - 1 of outputs row0 .. row0 + n_rows - 1; both multiples of 8.
void Unpack(const Packed& p, int64_t k0, int64_t n_k, int64_t row0, int64_t n_rows, Tile* tile) {
  if (p.IsAwq()) {
    for (int64_t k = 0; k < n_k; ++k)
      for (int64_t m = 0; m < n_rows / 8; ++m) {
        const uint32_t word = Word(p.qweight, (k0 + k) * (p.rows / 8) + row0 / 8 + m);
        for (size_t j = 0; j < 8; ++j)
          (*tile)[static_cast<size_t>(k)][static_cast<size_t>(m) * 8 + j] =
              static_cast<uint8_t>(word >> (4 * kAwqNibble[j]) & 15);
      }
    return;
  }
  for (int64_t k8 = 0; k8 < n_k / 8; ++k8)
    for (int64_t row = 0; row < n_rows; ++row) {
      const uint32_t word = Word(p.qweight, (k0 / 8 + k8) * p.rows + row0 + row);
      for (size_t i = 0; i < 8; ++i)
        (*tile)[static_cast<size_t>(k8) * 8 + i][static_cast<size_t>(row)] =
            static_cast<uint8_t>(word >> (4 * i) & 15);
    }
}

/// fn(k0, n_k, row0, n_rows, tile) over the whole matrix.
template <class Fn>
void ForTiles(const Packed& p, Fn&& fn) {
  Tile tile;
  for (int64_t row0 = 0; row0 < p.rows; row0 += kTileRows)
    for (int64_t k0 = 0; k0 < p.cols; k0 += kBlock) {
      const int64_t n_k = std::min(kBlock, p.cols - k0);
      const int64_t n_rows = std::min(kTileRows, p.rows - row0);
      Unpack(p, k0, n_k, row0, n_rows, &tile);
      fn(k0, n_k, row0, n_rows, tile);
    }
}

void Store(BlockQ4_0* block, const Tile& tile, size_t row, int zero) {
  if (zero != 8) Throw(ErrorCode::kCorrupt, "zero point: expected 8 (sym is true), found {}", zero);
  for (size_t i = 0; i < 16; ++i)
    block->qs[i] = static_cast<uint8_t>(tile[i][row] | tile[i + 16][row] << 4);
}

void Store(BlockQ5_0* block, const Tile& tile, size_t row, int zero) {
  for (size_t i = 0; i < 32; ++i)
    StoreQuantQ5(block->qs, block->qh, static_cast<int>(i), tile[i][row] - zero + 16);
}

/// Groups are runs of whole blocks, so a block has one scale and one zero point.
template <class Block>
void ToBlocks(const Packed& p, std::span<std::byte> out) {
  const int64_t row_blocks = p.cols / kBlock;
  ForTiles(p, [&](int64_t k0, int64_t, int64_t row0, int64_t n_rows, const Tile& tile) {
    const int64_t g = p.GroupOf(k0);
    for (int64_t row = row0; row < row0 + n_rows; ++row) {
      Block block{};
      block.d = LoadUnaligned<uint16_t>(p.scales.bytes.data() + (g * p.rows + row) * 2);
      Store(&block, tile, static_cast<size_t>(row - row0), Zero(p, g, row));
      std::memcpy(
          out.data() + (row * row_blocks + k0 / kBlock) * static_cast<int64_t>(sizeof block),
          &block, sizeof block);
    }
  });
}

void ToF16(const Packed& p, std::span<std::byte> out) {
  ForTiles(p, [&](int64_t k0, int64_t n_k, int64_t row0, int64_t n_rows, const Tile& tile) {
    for (int64_t row = row0; row < row0 + n_rows; ++row)
      for (int64_t k = k0; k < k0 + n_k; ++k) {
        const int64_t g = p.GroupOf(k);
        const int q = tile[static_cast<size_t>(k - k0)][static_cast<size_t>(row - row0)];
        const uint16_t bits = F32ToF16(Scale(p, g, row) * static_cast<float>(q - Zero(p, g, row)));
        std::memcpy(out.data() + (row * p.cols + k) * 2, &bits, sizeof bits);
      }
  });
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const QuantizationConfig& config)
      : checkpoint_(checkpoint), config_(config) {}

  MadeTensor Plan(const std::string& qweight_name) const {
    const std::string base = qweight_name.substr(0, qweight_name.size() - kSuffix.size());
    Packed p;
    p.config = config_;
    p.qweight = Require(qweight_name, DType::kI32);
    p.rows = p.IsAwq() ? p.qweight.shape[1] * 8 : p.qweight.shape[1];
    p.cols = p.IsAwq() ? p.qweight.shape[0] : p.qweight.shape[0] * 8;
    if (p.rows < 8 || p.cols < 8 || p.rows % 8 != 0 || p.cols % 8 != 0)
      Throw(ErrorCode::kCorrupt, "packed weight: expected multiples of 8, found [{}, {}], in {}",
            p.rows, p.cols, checkpoint_.Where(qweight_name));
    p.group = config_.group_size == -1 ? p.cols : config_.group_size;
    p.n_groups = (p.cols + p.group - 1) / p.group;
    p.qzeros = Require(base + ".qzeros", DType::kI32);
    p.scales = Require(base + ".scales", {});
    CheckShape(base + ".qzeros", p.qzeros, {p.n_groups, p.rows / 8});
    CheckShape(base + ".scales", p.scales, {p.n_groups, p.rows});
    MadeTensor made;
    made.name = base + ".weight";
    made.shape = {p.rows, p.cols};
    made.parts = {qweight_name, base + ".qzeros", base + ".scales"};
    const TensorView* g_idx = checkpoint_.Find(base + ".g_idx");
    if (g_idx != nullptr) made.parts.push_back(base + ".g_idx");
    const bool in_order = g_idx == nullptr || !ReadGroups(base + ".g_idx", *g_idx, &p);
    const bool as_blocks =
        in_order && p.group % kBlock == 0 && p.cols % kBlock == 0 && p.scales.dtype == DType::kF16;
    made.dtype = !as_blocks ? DType::kF16 : config_.is_symmetric ? DType::kQ4_0 : DType::kQ5_0;
    const auto convert = !as_blocks             ? &ToF16
                         : config_.is_symmetric ? &ToBlocks<BlockQ4_0>
                                                : &ToBlocks<BlockQ5_0>;
    made.make = [p = std::move(p), convert](std::span<std::byte> out) { convert(p, out); };
    return made;
  }

 private:
  TensorView Require(const std::string& name, std::optional<DType> dtype) const {
    const TensorView* view = checkpoint_.Find(name);
    if (view == nullptr)
      Throw(ErrorCode::kNotFound, "tensor {}: expected beside its qweight, found none, in {}", name,
            checkpoint_.path());
    const bool is_float =
        view->dtype == DType::kF16 || view->dtype == DType::kBF16 || view->dtype == DType::kF32;
    if (view->rank != 2 || (dtype ? view->dtype != *dtype : !is_float))
      Throw(ErrorCode::kCorrupt, "packed tensor: expected {} of 2 dimensions, found {} {}, in {}",
            dtype ? mixtral::Name(*dtype) : "F16, BF16 or F32", mixtral::Name(view->dtype),
            ShapeText(std::span(view->shape).first(static_cast<size_t>(view->rank))),
            checkpoint_.Where(name));
    return *view;
  }

  void CheckShape(const std::string& name, const TensorView& view,
                  std::array<int64_t, 2> shape) const {
    if (view.shape[0] != shape[0] || view.shape[1] != shape[1])
      Throw(ErrorCode::kCorrupt, "tensor shape: expected {}, found {}, in {}", ShapeText(shape),
            ShapeText(std::span(view.shape).first(2)), checkpoint_.Where(name));
  }

  /// True, and p->group_of filled, when inputs are not in the order of their groups.
  bool ReadGroups(const std::string& name, const TensorView& view, Packed* p) const {
    if (view.dtype != DType::kI32 || view.rank != 1 || view.shape[0] != p->cols)
      Throw(ErrorCode::kCorrupt, "g_idx: expected I32 [{}], found another type or shape, in {}",
            p->cols, checkpoint_.Where(name));
    std::vector<int32_t> groups(static_cast<size_t>(p->cols));
    bool reordered = false;
    for (int64_t k = 0; k < p->cols; ++k) {
      const auto g = static_cast<int32_t>(Word(view, k));
      if (g < 0 || g >= p->n_groups)
        Throw(ErrorCode::kCorrupt, "g_idx: expected groups of 0..{}, found {}, in {}",
              p->n_groups - 1, g, checkpoint_.Where(name));
      groups[static_cast<size_t>(k)] = g;
      reordered |= g != k / p->group;
    }
    if (reordered) p->group_of = std::move(groups);
    return reordered;
  }

  const Checkpoint& checkpoint_;
  const QuantizationConfig& config_;
};

}  // namespace

std::vector<MadeTensor> DequantizedPacked4(const Checkpoint& checkpoint,
                                           const QuantizationConfig& config) {
  const Planner planner(checkpoint, config);
  std::vector<MadeTensor> made;
  for (const std::string& name : checkpoint.Names())
    if (name.ends_with(kSuffix)) made.push_back(planner.Plan(name));
  return made;
}

std::vector<std::string> ZeroBiases(const Checkpoint& checkpoint) {
  std::vector<std::string> biases;
  for (const std::string& name : checkpoint.Names()) {
    if (!name.ends_with(kSuffix)) continue;
    std::string bias = name.substr(0, name.size() - kSuffix.size()) + ".bias";
    const TensorView* view = checkpoint.Find(bias);
    if (view == nullptr) continue;
    const bool is_zero = std::all_of(view->bytes.begin(), view->bytes.end(),
                                     [](std::byte b) { return b == std::byte{0}; });
    if (is_zero) biases.push_back(std::move(bias));
  }
  return biases;
}

}  // namespace mixtral

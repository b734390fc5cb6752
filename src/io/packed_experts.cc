// SPDX-License-Identifier: Apache-2.0
// Slices and transposes packed experts (packed_experts.h).
#include "io/packed_experts.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"
#include "io/shape.h"

namespace mixtral {
namespace {

constexpr std::string_view kBlock = ".block_sparse_moe.";

struct PackedName {
  std::string layer;        // "layers.3"
  std::string_view matrix;  // "w1", "w2", "w3" or "gate.weight"
};

std::optional<PackedName> ParseName(std::string_view name) {
  const size_t at = name.find(kBlock);
  if (at == std::string_view::npos || !name.starts_with("layers.")) return std::nullopt;
  const std::string_view matrix = name.substr(at + kBlock.size());
  if (matrix != "w1" && matrix != "w2" && matrix != "w3" && matrix != "gate.weight")
    return std::nullopt;
  return PackedName{std::string(name.substr(0, at)), matrix};
}

std::string ExpertName(const PackedName& packed, int64_t expert) {
  return fmt::format("{}.feed_forward.experts.{}.{}.weight", packed.layer, expert, packed.matrix);
}

/// F of [E*F, D].
int64_t ExpertRows(const TensorView& view, int64_t n_experts, const std::string& place) {
  if (n_experts < 1)
    Throw(ErrorCode::kNotFound,
          "experts: expected moe.num_experts or num_local_experts in the config, found none, for "
          "{}",
          place);
  if (view.rank != 2 || view.shape[0] % n_experts != 0)
    Throw(ErrorCode::kCorrupt, "tensor shape: expected [{} x rows, columns], found {}, in {}",
          n_experts, ShapeText(std::span(view.shape).first(static_cast<size_t>(view.rank))), place);
  return view.shape[0] / n_experts;
}

/// in [rows, cols] -> out [cols, rows], element by element of this size, in tiles that fit the
/// first cache level.
template <class T>
void Transpose(const std::byte* in, int64_t rows, int64_t cols, std::byte* out) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (int64_t c0 = 0; c0 < cols; c0 += kTile)
      for (int64_t c = c0; c < std::min(c0 + kTile, cols); ++c)
        for (int64_t r = r0; r < std::min(r0 + kTile, rows); ++r)
          std::memcpy(out + (c * rows + r) * static_cast<int64_t>(sizeof(T)),
                      in + (r * cols + c) * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

TensorView RowsOf(const TensorView& view, int64_t first, int64_t n) {
  TensorView rows = view;
  rows.shape = {n, view.shape[1], 0, 0};
  const size_t row_bytes = RowBytes(view.dtype, view.shape[1]);
  rows.bytes = view.bytes.subspan(static_cast<size_t>(first) * row_bytes,
                                  static_cast<size_t>(n) * row_bytes);
  return rows;
}

}  // namespace

NamedViews SlicePackedExperts(NamedViews tensors, int64_t n_experts, const std::string& where) {
  NamedViews out;
  for (auto& [name, view] : tensors) {
    const std::optional<PackedName> packed = ParseName(name);
    if (packed && packed->matrix == "gate.weight") {
      out.emplace_back(packed->layer + ".feed_forward.gate.weight", view);
    } else if (packed && packed->matrix != "w2") {
      const std::string place = fmt::format("{}:{}", where, Printable(name));
      const int64_t rows = ExpertRows(view, n_experts, place);
      for (int64_t e = 0; e < n_experts; ++e)
        out.emplace_back(ExpertName(*packed, e), RowsOf(view, e * rows, rows));
    } else {
      out.emplace_back(std::move(name), view);
    }
  }
  return out;
}

std::vector<MadeTensor> TransposedExperts(const NamedViews& tensors, int64_t n_experts,
                                          const std::string& where) {
  std::vector<MadeTensor> made;
  for (const auto& [name, view] : tensors) {
    const std::optional<PackedName> packed = ParseName(name);
    if (!packed || packed->matrix != "w2") continue;
    const std::string place = fmt::format("{}:{}", where, Printable(name));
    const int64_t rows = ExpertRows(view, n_experts, place), cols = view.shape[1];
    for (int64_t e = 0; e < n_experts; ++e) {
      const TensorView source = RowsOf(view, e * rows, rows);
      made.push_back({ExpertName(*packed, e),
                      view.dtype,
                      {cols, rows},
                      {name},
                      [source, rows, cols](std::span<std::byte> out) {
                        const auto transpose = Info(source.dtype).block_bytes == 4
                                                   ? &Transpose<uint32_t>
                                                   : &Transpose<uint16_t>;
                        transpose(source.bytes.data(), rows, cols, out.data());
                      }});
    }
  }
  return made;
}

}  // namespace mixtral

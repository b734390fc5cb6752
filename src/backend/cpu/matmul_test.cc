// SPDX-License-Identifier: Apache-2.0
// When a tile is packed: never for one token, where packing would read and write the weights once
// more than the product itself does and halve the speed of decoding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

#include "backend/cpu/ops.h"
#include "backend/cpu/test_support.h"
#include "base/arena.h"

namespace mixtral::cpu {
namespace {

constexpr auto kUntouched = std::byte{0xA5};

/// Whether LoadTile writes a tile for so many tokens.
bool Packs(DType dtype, kernels::Compute compute, int n_tokens) {
  constexpr int kCols = 256;
  const char* problem = nullptr;
  const kernels::MatrixSlots& slots = kernels::ActiveKernels(&problem)->Matrix(compute, dtype);
  const auto weight = cpu_test::RandomWeight(dtype, kernels::kTileRows, kCols, 5);
  TileJob job;
  job.weight = MakeCpuBackend(1, ComputeMode::kFast)->Upload(weight->view);
  job.slots = &slots;
  job.n_tokens = n_tokens;
  AlignedBuffer tile(slots.tile_bytes(kCols));
  std::fill_n(tile.data(), tile.size(), kUntouched);
  LoadTile(job, ViewTile(job, 0), tile.data());
  return std::any_of(tile.data(), tile.data() + tile.size(),
                     [](std::byte b) { return b != kUntouched; });
}

class Packing : public ::testing::TestWithParam<std::tuple<int, kernels::Compute>> {};

TEST_P(Packing, NeverForOneTokenAlwaysForMany) {
  const auto [type, compute] = GetParam();
  EXPECT_FALSE(Packs(static_cast<DType>(type), compute, 1));
  EXPECT_TRUE(Packs(static_cast<DType>(type), compute, 64));
}

INSTANTIATE_TEST_SUITE_P(EveryType, Packing,
                         ::testing::Combine(::testing::Range(0, kNumMatrixDTypes),
                                            ::testing::Values(kernels::Compute::kFast,
                                                              kernels::Compute::kExact)),
                         [](const auto& test) {
                           const bool exact = std::get<1>(test.param) == kernels::Compute::kExact;
                           return std::string(Name(static_cast<DType>(std::get<0>(test.param)))) +
                                  (exact ? "_exact" : "_fast");
                         });

}  // namespace
}  // namespace mixtral::cpu

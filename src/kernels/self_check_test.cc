// SPDX-License-Identifier: Apache-2.0
// The self-check passes on this host, and finds each slot that somebody broke.
#include "kernels/self_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace mixtral::kernels {
namespace {

std::vector<std::string> WrongSlots(const KernelTable& table) {
  std::vector<std::string> wrong;
  for (const SlotCheck& check : SelfCheck(table, BuildTable(Isa::kScalar)))
    if (!check.is_right) wrong.push_back(check.slot);
  return wrong;
}

TEST(SelfCheck, PassesOnThisHost) {
  EXPECT_EQ(WrongSlots(BuildTable(HostIsa())), std::vector<std::string>{});
  EXPECT_EQ(SelfCheck(BuildTable(HostIsa()), BuildTable(Isa::kScalar)).size(),
            size_t{kNumMatrixDTypes} * (2 * 3 + 1) + 3 + 2 + 5);
}

TEST(SelfCheck, FindsWhatIsBroken) {
  using Strings = std::vector<std::string>;
  KernelTable table = BuildTable(HostIsa());
  table.rms_norm.fn = [](const float*, const float*, float, int n, float* out) noexcept {
    std::fill_n(out, n, 0.5f);
  };
  EXPECT_EQ(WrongSlots(table), Strings{"rms_norm"});

  table = BuildTable(HostIsa());
  table.to_f32[Index(DType::kQ4_K)].fn = [](const void*, int n, float* out) noexcept {
    std::fill_n(out, n, 0.0f);
  };
  EXPECT_EQ(WrongSlots(table), Strings{"to_f32 Q4_K"});

  table = BuildTable(HostIsa());
  table.matrix[0][Index(DType::kQ3_K)].gemm_tile.fn = [](const GemmTileArgs& args) noexcept {
    args.out[0] = 1;
  };
  EXPECT_EQ(WrongSlots(table), Strings{"pack_tile, gemm_tile Q3_K fast"});

  table = BuildTable(HostIsa());
  table.attend_tile[1].fn = [](const AttendTileArgs&) noexcept {};
  EXPECT_EQ(WrongSlots(table), Strings{"attend_tile F16"});

  table = BuildTable(HostIsa());
  table.matrix[1][Index(DType::kF16)].gemv_rows.fn = [](const GemvRowsArgs& args) noexcept {
    std::fill_n(args.out, args.n_rows, std::numeric_limits<float>::quiet_NaN());
  };
  EXPECT_EQ(WrongSlots(table), (Strings{"gemv_rows F16 exact", "pack_tile, gemm_tile F16 exact"}));
}

}  // namespace
}  // namespace mixtral::kernels

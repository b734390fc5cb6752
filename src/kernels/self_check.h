// SPDX-License-Identifier: Apache-2.0
// Every slot of a kernel table against another one on random data, at run time and without a test
// framework: `verify` asks whether this processor computes what it should.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace mixtral::kernels {

struct SlotCheck {
  std::string slot;  // "gemm_tile Q4_K fast"
  bool is_right = false;
  /// Largest difference seen, as a part of what the arithmetic contract allows (docs/kernels.md); a
  /// slot that must agree bit by bit has 0 or infinity.
  double error = 0;
};

/// Checks every slot of `table` against the same of `reference`, the scalar table. The same on
/// every call: the random data have a fixed seed.
std::vector<SlotCheck> SelfCheck(const KernelTable& table, const KernelTable& reference);

}  // namespace mixtral::kernels

// SPDX-License-Identifier: Apache-2.0
// Overwrites the slots that have an AVX2 kernel.
#include "kernels/avx2/install.h"

namespace mixtral::kernels::avx2 {

void Install(KernelTable& table) {
  InstallFloatMatmul(table);
  InstallSigned(table);
  InstallUnsigned32(table);
  InstallK32(table);
  InstallK16(table);
  InstallAttend(table);
  InstallRows(table);
  InstallCeilings(table);
}

}  // namespace mixtral::kernels::avx2

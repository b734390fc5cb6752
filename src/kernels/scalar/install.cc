// SPDX-License-Identifier: Apache-2.0
// Fills every slot with its scalar kernel.
#include "kernels/scalar/install.h"

namespace mixtral::kernels::scalar {

void Install(KernelTable& table) {
  InstallConvert(table);
  InstallFloatMatmul(table);
  InstallQ8_0(table);
  InstallQ4_0(table);
  InstallQ4K(table);
  InstallQ6K(table);
  InstallAttend(table);
  InstallRows(table);
}

}  // namespace mixtral::kernels::scalar

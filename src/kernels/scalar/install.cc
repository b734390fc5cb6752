// SPDX-License-Identifier: Apache-2.0
// Fills every slot with its scalar kernel.
#include "kernels/scalar/install.h"

namespace mixtral::kernels::scalar {

void Install(KernelTable& table) {
  InstallConvert(table);
  InstallFloatMatmul(table);
  InstallBlockMatmul(table);
  InstallAttend(table);
  InstallRows(table);
  InstallCeilings(table);
}

}  // namespace mixtral::kernels::scalar

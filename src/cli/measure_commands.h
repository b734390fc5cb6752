// SPDX-License-Identifier: Apache-2.0
// The commands that measure a model on texts. Apart from command.h, as those of the server are.
#pragma once

#include "cli/command.h"

namespace mixtral::cli {

int PerplexityCommand(Arguments arguments);
int CompareCommand(Arguments arguments);

}  // namespace mixtral::cli

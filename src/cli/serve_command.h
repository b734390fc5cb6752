// SPDX-License-Identifier: Apache-2.0
// The commands that need the server module. Apart from command.h, so that the other commands know
// nothing of it.
#pragma once

#include "cli/command.h"

namespace mixtral::cli {

int ServeCommand(Arguments arguments);
int BatchCommand(Arguments arguments);

}  // namespace mixtral::cli

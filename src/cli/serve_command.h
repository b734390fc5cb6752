// SPDX-License-Identifier: Apache-2.0
// The command that needs the server module. Apart from command.h, so that the other commands know
// nothing of it.
#pragma once

#include "cli/command.h"

namespace mixtral::cli {

int ServeCommand(Arguments arguments);

}  // namespace mixtral::cli

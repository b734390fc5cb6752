// SPDX-License-Identifier: Apache-2.0
// The actions of `mixtral routing` beside the report itself.
#pragma once

#include "cli/command.h"

namespace mixtral::cli {

int RoutingReplayCommand(Arguments arguments);
int RoutingAblateCommand(Arguments arguments);

}  // namespace mixtral::cli

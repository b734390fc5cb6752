// SPDX-License-Identifier: Apache-2.0
// The actions of `mixtral data`.
#pragma once

#include "cli/command.h"

namespace mixtral::cli {

int DataPrepareCommand(Arguments arguments);
int DataSftCommand(Arguments arguments);
int DataPreferencesCommand(Arguments arguments);
int DataTokenizerCommand(Arguments arguments);
int DataReportCommand(Arguments arguments);
int DataInspectCommand(Arguments arguments);

}  // namespace mixtral::cli

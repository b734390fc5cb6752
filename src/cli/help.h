// SPDX-License-Identifier: Apache-2.0
// The program's own texts: the overview, the man pages, the completions, all made from the table of
// commands and what the commands declare.
#pragma once

#include <span>
#include <string>

#include "cli/description.h"

namespace mixtral::cli {

/// What `mixtral --help` prints.
std::string Overview(std::span<const Command> commands);
/// Throws UsageError with the nearest name.
const Command& FindCommand(std::span<const Command> commands, const std::string& name);

/// "mixtral-data-prepare": the name of its man page.
std::string PageName(const CommandDescription& command);
/// A man page in roff.
std::string ManPage(const CommandDescription& command);
/// mixtral(1).
std::string OverviewManPage(std::span<const CommandDescription> commands);

// Scripts for shells.
std::string BashCompletions(std::span<const CommandDescription> commands);
std::string ZshCompletions(std::span<const CommandDescription> commands);
std::string FishCompletions(std::span<const CommandDescription> commands);

}  // namespace mixtral::cli

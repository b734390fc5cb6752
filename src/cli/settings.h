// SPDX-License-Identifier: Apache-2.0
// Flags from elsewhere than the command line: environment variables MIXTRAL_* and the config file.
// The order is command line, environment, file, default. CommandLine asks here; docs/cli.md has the
// format.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/description.h"

namespace mixtral::cli {

/// One "key = value" of a config file.
struct ConfigEntry {
  std::string section;  // a command; empty: every command that has the flag
  std::string key, value;
  int line = 0;  // from 1
};

/// Text of a config file -> its entries, in order. Throws UsageError naming path and line.
std::vector<ConfigEntry> ParseConfig(std::string_view text, const std::string& path);

/// Refuses keys that no command has (with the nearest one), and sections that are no command.
/// Throws UsageError naming path and line.
void CheckConfig(const std::vector<ConfigEntry>& entries, const std::string& path,
                 std::span<const CommandDescription> commands);

/// $XDG_CONFIG_HOME/mixtral/config or ~/.config/mixtral/config; empty where neither is known.
std::string DefaultConfigPath();

/// Environment variables that begin with MIXTRAL_ and that neither a flag nor anything else of the
/// program has, each as a notice with the nearest name.
std::vector<std::string> UnknownVariables(std::span<const std::string> variables,
                                          std::span<const CommandDescription> commands);
/// The names of this process's variables that begin with MIXTRAL_.
std::vector<std::string> OwnVariables();

class Settings {
 public:
  struct Found {
    std::vector<std::string> values;  // one, or several lines of the file for a list
    std::string origin;               // "environment variable MIXTRAL_THREADS", "FILE:12"
  };

  Settings() = default;
  /// config: a path to read; empty: none. Throws what ParseConfig and CheckConfig throw, and
  /// Error{kNotFound, kIo} when the file cannot be read.
  Settings(const std::string& config, std::span<const Command> commands);

  /// What environment or file say of a flag of a command; its section counts before the lines that
  /// hold for every command, and the last line of a section before earlier ones.
  std::optional<Found> Find(std::string_view command, const FlagDescription& flag) const;
  const std::string& path() const { return path_; }  // of the file that was read; empty: none

 private:
  std::string path_;
  std::vector<ConfigEntry> entries_;
};

}  // namespace mixtral::cli

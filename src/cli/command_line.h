// SPDX-License-Identifier: Apache-2.0
// One command's flags: a thin adapter around CLI11 that parses numbers strictly, names the flag and
// the range in its errors, suggests the nearest flag, and throws UsageError alone. What the command
// line leaves open comes from the environment and the config file (settings.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/settings.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace mixtral::cli {

struct IntRange {
  int64_t min, max;
};
struct RealRange {
  double min, max;
};

/// Whole text as a decimal integer within range; `what` opens the error message. Throws UsageError.
int64_t ParseInt(std::string_view text, IntRange range, std::string_view what);
/// The same for a decimal number.
double ParseReal(std::string_view text, RealRange range, std::string_view what);

/// "; did you mean 'run'?" for the nearest name: a typing error, two letters swapped, or a
/// beginning that only one name has. Empty when none is near.
std::string DidYouMean(std::string_view word, std::span<const std::string_view> names);

/// Where arguments ask for a description: adds those of a command's actions.
void DescribeActions(const Arguments& arguments, std::span<const Command> actions);

class CommandLine {
 public:
  /// examples: printed at the end of --help.
  CommandLine(const std::string& command, const std::string& description,
              const std::string& examples);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// For commands that must work whatever environment and config file say.
  void WithoutSettings();
  /// Flags added from now on are listed under this heading.
  void Group(const std::string& name) { group_ = name; }
  // Arguments without a flag, in this order.
  void Required(const std::string& name, std::string* value, const std::string& help);
  void Optional(const std::string& name, std::optional<std::string>* value,
                const std::string& help);
  void RequiredChoice(const std::string& name, std::string* value,
                      std::vector<std::string_view> names, const std::string& help);
  void OptionalChoice(const std::string& name, std::string* value,
                      std::vector<std::string_view> names, const std::string& help);
  void Flag(const std::string& flags, bool* value, const std::string& help);
  void Text(const std::string& flags, std::optional<std::string>* value, const std::string& type,
            const std::string& help);
  void TextList(const std::string& flags, std::vector<std::string>* values, const std::string& type,
                const std::string& help);
  void Choice(const std::string& flags, std::string* value, std::vector<std::string_view> names,
              const std::string& help);
  void Real(const std::string& flags, float* value, RealRange range, const std::string& help);
  template <class T>
  void Int(const std::string& flags, T* value, IntRange range, const std::string& help) {
    AddInt(flags, range, help, [value](int64_t parsed) { *value = static_cast<T>(parsed); });
  }

  /// false: there is nothing more to do; --help was printed, or the description written. Throws
  /// UsageError, and what Settings throws.
  bool Parse(const Arguments& arguments);
  /// The value of --quiet; nullptr when no such flag was added yet.
  const bool* quiet() const { return is_quiet_; }
  /// For a command that is a table of actions (`mixtral data prepare ...`), each with flags of its
  /// own: runs the one that the first word names. Their CommandLines are named "data prepare".
  int RunAction(const Arguments& arguments, std::span<const Command> actions);
  /// After Parse: environment and config file as this command line chooses them.
  Settings LoadSettings(std::span<const Command> commands) const;

 private:
  using OnValue = std::function<void(const std::string& value)>;
  struct Entry {
    FlagDescription description;
    OnValue on_value;  // a switch: gets "true" or "false"
    CLI::Option* option = nullptr;
  };
  Entry& Add(const std::string& flags, const std::string& type, const std::string& help,
             OnValue on_value);
  void AddChoice(const std::string& flags, std::string* value, std::vector<std::string_view> names,
                 const std::string& help);
  void AddInt(const std::string& flags, IntRange range, const std::string& help,
              std::function<void(int64_t)> on_value);
  void AddSettingFlags();
  [[noreturn]] void ThrowParseError(const std::string& message) const;
  void Apply(const Settings& settings);
  void DescribeTo(CommandDescription* description, const Settings* settings);
  void PrintUnknownVariables(std::span<const Command> commands) const;

  std::string command_, description_, examples_, group_ = "Options";
  std::unique_ptr<CLI::App> app_;
  std::vector<Entry> entries_;
  bool takes_settings_ = true, no_config_ = false;
  const bool* is_quiet_ = nullptr;
  std::optional<std::string> config_;
};

}  // namespace mixtral::cli

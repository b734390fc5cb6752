// SPDX-License-Identifier: Apache-2.0
// The only file that includes CLI11. Values go through callbacks that parse them here, because
// CLI11's own conversions take hexadecimal, octal and "nan".
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "base/strings.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

/// "-n,--max-tokens" as it is shown in messages.
std::string Shown(const std::string& flags) {
  std::string shown = flags;
  for (char& c : shown)
    if (c == ',') c = '/';
  return shown;
}

template <class T>
std::optional<T> ParseWhole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool IsAmong(std::string_view word, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), word) != names.end();
}

/// A name that becomes word when two neighbouring letters are swapped; word is short.
std::string UnswappedName(std::string_view word, std::span<const std::string_view> names) {
  for (size_t i = 0; i + 1 < word.size(); ++i) {
    std::string swapped(word);
    std::swap(swapped[i], swapped[i + 1]);
    if (IsAmong(swapped, names)) return swapped;
  }
  return "";
}

std::string NameThatBeginsWith(std::string_view word, std::span<const std::string_view> names) {
  const auto begins = [word](std::string_view name) { return name.starts_with(word); };
  if (word.size() < 3 || std::count_if(names.begin(), names.end(), begins) != 1) return "";
  return std::string(*std::find_if(names.begin(), names.end(), begins));
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

/// CLI11's "--prompt: 1 required TEXT missing" in the words of every other message.
std::string Reworded(const std::string& message) {
  constexpr std::string_view kBegin = ": 1 required ", kEnd = " missing";
  const size_t begin = message.find(kBegin), value = begin + kBegin.size();
  if (begin == std::string::npos || !message.ends_with(kEnd)) return message;
  return fmt::format("{}: expected {}, found nothing", message.substr(0, begin),
                     message.substr(value, message.size() - kEnd.size() - value));
}

bool ParseSwitch(const std::string& text, std::string_view what) {
  for (const std::string_view yes : {"true", "yes", "on", "1"})
    if (text == yes) return true;
  for (const std::string_view no : {"false", "no", "off", "0"})
    if (text == no) return false;
  ThrowUsage("{}: expected true or false, found '{}'", what, Printable(text));
}

}  // namespace

int64_t ParseInt(std::string_view text, IntRange range, std::string_view what) {
  const auto value = ParseWhole<int64_t>(text);
  if (!value || *value < range.min || *value > range.max)
    ThrowUsage("{}: expected an integer in {}..{}, found '{}'", what, range.min, range.max,
               Printable(text));
  return *value;
}

double ParseReal(std::string_view text, RealRange range, std::string_view what) {
  const auto value = ParseWhole<double>(text);
  if (!value || !(*value >= range.min && *value <= range.max))  // not NaN either
    ThrowUsage("{}: expected a number in {}..{}, found '{}'", what, range.min, range.max,
               Printable(text));
  return *value;
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> names) {
  constexpr size_t kLongestName = 40;
  if (word.size() > kLongestName) return "";
  std::string near = NameThatBeginsWith(word, names);
  if (near.empty()) near = UnswappedName(word, names);
  if (near.empty()) near = NearestName(word, names);
  return near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
}

CommandLine::CommandLine(const std::string& command, const std::string& description,
                         const std::string& examples)
    : command_(command),
      description_(description),
      examples_(examples),
      app_(std::make_unique<CLI::App>(description, "mixtral " + command)) {
  app_->set_help_flag("-h,--help", "Print this help");
  app_->get_formatter()->column_width(34);
  app_->footer("\nExamples:\n" + examples);
}

CommandLine::~CommandLine() = default;

void CommandLine::WithoutSettings() { takes_settings_ = false; }

CommandLine::Entry& CommandLine::Add(const std::string& flags, const std::string& type,
                                     const std::string& help, OnValue on_value) {
  Entry& entry = entries_.emplace_back();
  for (const std::string_view name : Split(flags, ',')) entry.description.names.emplace_back(name);
  entry.description.value = type;
  entry.description.help = help;
  entry.description.group = group_;
  entry.description.is_argument = flags[0] != '-';
  entry.on_value = on_value;
  entry.option = app_->add_option(
      flags,
      [on_value = std::move(on_value)](const CLI::results_t& results) {
        for (const std::string& result : results) on_value(result);
        return true;
      },
      help);
  entry.option->type_name(type)->group(group_);
  return entry;
}

void CommandLine::Required(const std::string& name, std::string* value, const std::string& help) {
  Entry& entry = Add(name, "", help, [value](const std::string& text) { *value = text; });
  entry.option->required();
  entry.description.is_required = true;
}

void CommandLine::Optional(const std::string& name, std::optional<std::string>* value,
                           const std::string& help) {
  Add(name, "", help, [value](const std::string& text) { *value = text; });
}

void CommandLine::Flag(const std::string& flags, bool* value, const std::string& help) {
  Entry& entry = entries_.emplace_back();
  for (const std::string_view name : Split(flags, ',')) entry.description.names.emplace_back(name);
  entry.description.help = help;
  entry.description.group = group_;
  entry.on_value = [value, shown = Shown(flags)](const std::string& text) {
    *value = ParseSwitch(text, shown);
  };
  entry.option = app_->add_flag_callback(
      flags, [value] { *value = true; }, help);
  entry.option->group(group_);
  if (entry.description.Key() == "quiet") is_quiet_ = value;
}

void CommandLine::Text(const std::string& flags, std::optional<std::string>* value,
                       const std::string& type, const std::string& help) {
  Add(flags, type, help, [value](const std::string& text) { *value = text; });
}

void CommandLine::TextList(const std::string& flags, std::vector<std::string>* values,
                           const std::string& type, const std::string& help) {
  Entry& entry =
      Add(flags, type, help, [values](const std::string& text) { values->push_back(text); });
  entry.option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
  entry.description.is_list = true;
}

void CommandLine::AddChoice(const std::string& flags, std::string* value,
                            std::vector<std::string_view> names, const std::string& help) {
  const bool is_argument = flags[0] != '-';
  const std::string list = JoinNames(names, "|");
  Entry& entry =
      Add(flags, is_argument ? "" : list, help, [=, shown = Shown(flags)](const std::string& text) {
        if (!IsAmong(text, names))
          ThrowUsage("{}: expected {}, found '{}'{}", shown, list, Printable(text),
                     DidYouMean(text, names));
        *value = text;
      });
  entry.description.choices.assign(names.begin(), names.end());
}

void CommandLine::Choice(const std::string& flags, std::string* value,
                         std::vector<std::string_view> names, const std::string& help) {
  AddChoice(flags, value, std::move(names), help);
}

void CommandLine::RequiredChoice(const std::string& name, std::string* value,
                                 std::vector<std::string_view> names, const std::string& help) {
  AddChoice(name, value, std::move(names), help);
  entries_.back().option->required();
  entries_.back().description.is_required = true;
}

void CommandLine::OptionalChoice(const std::string& name, std::string* value,
                                 std::vector<std::string_view> names, const std::string& help) {
  AddChoice(name, value, std::move(names), help);
}

void CommandLine::Real(const std::string& flags, float* value, RealRange range,
                       const std::string& help) {
  Add(flags, "X", help, [=, shown = Shown(flags)](const std::string& text) {
    *value = static_cast<float>(ParseReal(text, range, shown));
  });
}

void CommandLine::AddInt(const std::string& flags, IntRange range, const std::string& help,
                         std::function<void(int64_t)> on_value) {
  Add(flags, "N", help,
      [=, shown = Shown(flags), on_value = std::move(on_value)](const std::string& text) {
        on_value(ParseInt(text, range, shown));
      });
}

/// The first unknown flag explains more than what CLI11 stumbled over because of it.
void CommandLine::ThrowParseError(const std::string& message) const {
  const std::string see = fmt::format("(see 'mixtral {} --help')", command_);
  std::vector<std::string> names;
  for (const CLI::Option* option : app_->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const std::vector<std::string> unknown = app_->remaining();
  for (const std::string& argument : unknown) {
    if (argument.size() < 2 || argument[0] != '-') continue;
    const std::string name = argument.substr(0, argument.find('='));
    ThrowUsage("{}: unknown flag '{}'{} {}", command_, Printable(name),
               DidYouMean(name, candidates), see);
  }
  if (!unknown.empty())
    ThrowUsage("{}: unexpected argument '{}' {}", command_, Printable(unknown.front()), see);
  ThrowUsage("{}: {} {}", command_, Printable(Reworded(FirstLine(message)), 300), see);
}

/// Last of all flags, under a heading of their own.
void CommandLine::AddSettingFlags() {
  Group("Settings");
  Text("--config", &config_, "FILE",
       "Take flags from this file (default: mixtral/config in ~/.config)");
  Flag("--no-config", &no_config_, "Read no config file");
}

Settings CommandLine::LoadSettings(std::span<const Command> commands) const {
  if (no_config_) return {};
  if (config_) return {*config_, commands};
  const std::string path = DefaultConfigPath();
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return {};
  return {path, commands};
}

/// Gives the flags that the command line does not have their values from elsewhere.
void CommandLine::Apply(const Settings& settings) {
  for (Entry& entry : entries_) {
    if (entry.option->count() > 0) continue;
    const auto found = settings.Find(command_, entry.description);
    if (!found) continue;
    try {
      for (const std::string& value : found->values) entry.on_value(value);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}, in {}", error.what(), found->origin));
    }
    entry.description.set_values = found->values;
    entry.description.origin = found->origin;
  }
}

void CommandLine::PrintUnknownVariables(std::span<const Command> commands) const {
  const std::vector<std::string> variables = OwnVariables();
  if (variables.empty() || (is_quiet_ != nullptr && *is_quiet_)) return;
  PrintNotices(UnknownVariables(variables, DescribeAll(commands)));
}

void CommandLine::DescribeTo(CommandDescription* description, const Settings* settings) {
  if (settings != nullptr && takes_settings_) Apply(*settings);
  *description = {.name = command_,
                  .summary = "",
                  .description = description_,
                  .examples = examples_,
                  .takes_settings = takes_settings_,
                  .flags = {},
                  .actions = {}};
  for (const Entry& entry : entries_) description->flags.push_back(entry.description);
}

bool CommandLine::Parse(const Arguments& arguments) {
  if (takes_settings_) AddSettingFlags();
  if (arguments.description != nullptr) {
    DescribeTo(arguments.description, arguments.settings);
    return false;
  }
  std::vector<std::string> reversed(arguments.words.rbegin(),
                                    arguments.words.rend());  // CLI11 pops the back
  try {
    app_->parse(reversed);
  } catch (const CLI::CallForHelp&) {
    WriteOut(app_->help());
    return false;
  } catch (const CLI::ParseError& error) {
    ThrowParseError(error.what());
  }
  if (!takes_settings_) return true;
  const Settings environment_only;
  for (Entry& entry : entries_) {  // where the file is, before what is in it
    const std::string key = entry.description.Key();
    if (entry.option->count() > 0 || (key != "config" && key != "no-config")) continue;
    if (const auto found = environment_only.Find(command_, entry.description))
      entry.on_value(found->values.front());
  }
  Apply(LoadSettings(arguments.commands));
  PrintUnknownVariables(arguments.commands);
  return true;
}

int CommandLine::RunAction(const Arguments& arguments, std::span<const Command> actions) {
  if (arguments.description == nullptr && !arguments.empty())
    for (const Command& action : actions)
      if (action.name == arguments.front()) return action.run(arguments.subspan(1));
  std::string name;
  WithoutSettings();
  RequiredChoice("ACTION", &name, CommandNames(actions), "What to do");
  if (!Parse(arguments)) DescribeActions(arguments, actions);
  return kExitOk;
}

void DescribeActions(const Arguments& arguments, std::span<const Command> actions) {
  if (arguments.description == nullptr) return;
  for (const Command& action : actions) {
    CommandDescription& description = arguments.description->actions.emplace_back();
    action.run({.words = {},
                .commands = arguments.commands,
                .description = &description,
                .settings = arguments.settings});
    description.summary = action.help;
  }
}

}  // namespace mixtral::cli

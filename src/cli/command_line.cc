// SPDX-License-Identifier: Apache-2.0
// The only file that includes CLI11. Values go through callbacks that parse them here, because
// CLI11's own conversions take hexadecimal, octal and "nan".
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
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
    : command_(command), app_(std::make_unique<CLI::App>(description, "mixtral " + command)) {
  app_->set_help_flag("-h,--help", "Print this help");
  app_->get_formatter()->column_width(34);
  app_->footer("\nExamples:\n" + examples);
}

CommandLine::~CommandLine() = default;

CLI::Option* CommandLine::Add(const std::string& flags, const std::string& type,
                              const std::string& help, OnValue on_value) {
  CLI::Option* option = app_->add_option(
      flags,
      [on_value = std::move(on_value)](const CLI::results_t& results) {
        for (const std::string& result : results) on_value(result);
        return true;
      },
      help);
  return option->type_name(type)->group(group_);
}

void CommandLine::Required(const std::string& name, std::string* value, const std::string& help) {
  Add(name, "", help, [value](const std::string& text) { *value = text; })->required();
}

void CommandLine::Optional(const std::string& name, std::optional<std::string>* value,
                           const std::string& help) {
  Add(name, "", help, [value](const std::string& text) { *value = text; });
}

void CommandLine::Flag(const std::string& flags, bool* value, const std::string& help) {
  app_->add_flag_callback(
          flags, [value] { *value = true; }, help)
      ->group(group_);
}

void CommandLine::Text(const std::string& flags, std::optional<std::string>* value,
                       const std::string& type, const std::string& help) {
  Add(flags, type, help, [value](const std::string& text) { *value = text; });
}

void CommandLine::TextList(const std::string& flags, std::vector<std::string>* values,
                           const std::string& type, const std::string& help) {
  Add(flags, type, help, [values](const std::string& text) { values->push_back(text); })
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

void CommandLine::Choice(const std::string& flags, std::string* value,
                         std::vector<std::string_view> names, const std::string& help) {
  const std::string list = JoinNames(names, "|");
  Add(flags, list, help, [=, shown = Shown(flags)](const std::string& text) {
    if (!IsAmong(text, names))
      ThrowUsage("{}: expected {}, found '{}'{}", shown, list, Printable(text),
                 DidYouMean(text, names));
    *value = text;
  });
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
  ThrowUsage("{}: {} {}", command_, Printable(FirstLine(message), 300), see);
}

bool CommandLine::Parse(Arguments arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // CLI11 pops the back
  try {
    app_->parse(reversed);
  } catch (const CLI::CallForHelp&) {
    WriteOut(app_->help());
    return false;
  } catch (const CLI::ParseError& error) {
    ThrowParseError(error.what());
  }
  return true;
}

}  // namespace mixtral::cli

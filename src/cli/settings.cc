// SPDX-License-Identifier: Apache-2.0
// Environment and config file (settings.h). Values stay text here: the flag that takes one parses
// it.
#include "cli/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/command_line.h"

namespace mixtral::cli {
namespace {

constexpr std::string_view kPrefix = "MIXTRAL_";
// Read elsewhere than here: the kernels' instruction set, and where the tests find their models.
constexpr std::string_view kOtherVariables[] = {"MIXTRAL_ISA", "MIXTRAL_SHARED"};
constexpr size_t kMaxConfigBytes = size_t{1} << 20;

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

/// The text between double quotes, with \" \\ \n \t read; `where` opens the message.
std::string Unquote(std::string_view text, const std::string& where) {
  std::string value;
  size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    constexpr std::string_view kEscapes = "\"\\nt", kMeanings = "\"\\\n\t";
    const size_t which = i + 1 < text.size() ? kEscapes.find(text[i + 1]) : std::string_view::npos;
    if (which == std::string_view::npos)
      ThrowUsage("value: expected \\\", \\\\, \\n or \\t after a backslash, found {}, in {}",
                 Printable(text.substr(i, 2)), where);
    value += kMeanings[which];
    ++i;
  }
  if (i >= text.size()) ThrowUsage("value: expected a closing quote, found none, in {}", where);
  const std::string_view rest = Trim(text.substr(i + 1));
  if (!rest.empty() && rest[0] != '#')
    ThrowUsage("value: expected nothing behind the closing quote, found '{}', in {}",
               Printable(rest), where);
  return value;
}

std::string ParseValue(std::string_view text, const std::string& where) {
  if (text.starts_with('"')) return Unquote(text, where);
  if (text.starts_with('#')) return "";
  for (size_t i = 1; i < text.size(); ++i)  // a comment begins after a blank
    if (text[i] == '#' && (text[i - 1] == ' ' || text[i - 1] == '\t'))
      return std::string(Trim(text.substr(0, i)));
  return std::string(text);
}

std::vector<std::string_view> KeysOf(std::span<const CommandDescription> commands,
                                     std::string_view section, std::vector<std::string>* storage) {
  storage->clear();
  for (const CommandDescription& command : commands)
    if (command.takes_settings && (section.empty() || command.name == section))
      for (const FlagDescription& flag : command.flags) storage->push_back(flag.Key());
  std::sort(storage->begin(), storage->end());
  storage->erase(std::unique(storage->begin(), storage->end()), storage->end());
  std::erase_if(*storage, [](const std::string& key) {
    return key.empty() || key == "config" || key == "no-config";  // a file does not name itself
  });
  return {storage->begin(), storage->end()};
}

bool IsAmong(std::string_view name, const std::vector<std::string_view>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<ConfigEntry> ParseConfig(std::string_view text, const std::string& path) {
  std::vector<ConfigEntry> entries;
  std::string section;
  int number = 0;
  for (const std::string_view whole : Split(text, '\n')) {
    const std::string where = fmt::format("{}:{}", path, ++number);
    const std::string_view line = Trim(whole);
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      const size_t end = line.find(']');
      const std::string_view rest =
          end == std::string_view::npos ? line : Trim(line.substr(end + 1));
      if (!rest.empty() && rest[0] != '#')
        ThrowUsage("section: expected [COMMAND], found '{}', in {}", Printable(line), where);
      section = Trim(line.substr(1, end - 1));
      entries.push_back({section, "", "", number});
      continue;
    }
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos)
      ThrowUsage("line: expected KEY = VALUE, found '{}', in {}", Printable(line), where);
    entries.push_back({section, std::string(Trim(line.substr(0, equals))),
                       ParseValue(Trim(line.substr(equals + 1)), where), number});
  }
  return entries;
}

void CheckConfig(const std::vector<ConfigEntry>& entries, const std::string& path,
                 std::span<const CommandDescription> commands) {
  std::vector<std::string_view> sections;
  for (const CommandDescription& command : commands)
    if (command.takes_settings) sections.push_back(command.name);
  std::vector<std::string> storage;
  for (const ConfigEntry& entry : entries) {
    if (entry.key.empty() && !entry.section.empty() && IsAmong(entry.section, sections)) continue;
    if (!entry.section.empty() && !IsAmong(entry.section, sections))
      ThrowUsage("section: expected the name of a command, found '{}'{}, in {}:{}",
                 Printable(entry.section), DidYouMean(entry.section, sections), path, entry.line);
    const auto keys = KeysOf(commands, entry.section, &storage);
    if (IsAmong(entry.key, keys)) continue;
    ThrowUsage("key: expected a flag of {} without its dashes, found '{}'{}, in {}:{}",
               entry.section.empty() ? "a command" : entry.section, Printable(entry.key),
               DidYouMean(entry.key, keys), path, entry.line);
  }
}

std::string DefaultConfigPath() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  // The XDG specification has relative paths ignored.
  if (const std::string xdg = variable("XDG_CONFIG_HOME"); xdg.starts_with('/'))
    return xdg + "/mixtral/config";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.config/mixtral/config";
}

std::vector<std::string> OwnVariables() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    if (variable.starts_with(kPrefix)) names.emplace_back(variable.substr(0, variable.find('=')));
  }
  return names;
}

std::vector<std::string> UnknownVariables(std::span<const std::string> variables,
                                          std::span<const CommandDescription> commands) {
  std::vector<std::string> known(std::begin(kOtherVariables), std::end(kOtherVariables));
  for (const CommandDescription& command : commands)
    for (const FlagDescription& flag : command.flags)
      if (command.takes_settings && !flag.Key().empty()) known.push_back(VariableOf(flag.Key()));
  const std::vector<std::string_view> names(known.begin(), known.end());
  std::vector<std::string> notices;
  for (const std::string& variable : variables)
    if (!IsAmong(variable, names))
      notices.push_back(fmt::format("environment variable {} is not one of this program{}",
                                    Printable(variable), DidYouMean(variable, names)));
  return notices;
}

Settings::Settings(const std::string& config, std::span<const Command> commands) : path_(config) {
  if (config.empty()) return;
  entries_ = ParseConfig(ReadTextFile(config, kMaxConfigBytes), config);
  if (!entries_.empty()) CheckConfig(entries_, config, DescribeAll(commands));
}

std::optional<Settings::Found> Settings::Find(std::string_view command,
                                              const FlagDescription& flag) const {
  const std::string key = flag.Key();
  if (key.empty()) return std::nullopt;
  const std::string variable = VariableOf(key);
  const char* value = std::getenv(variable.c_str());
  if (value != nullptr && *value != '\0') return Found{{value}, "environment variable " + variable};
  for (const std::string_view section : {command, std::string_view()}) {
    Found found;
    for (const ConfigEntry& entry : entries_) {
      if (entry.section != section || entry.key != key) continue;
      if (!flag.is_list) found.values.clear();
      found.values.push_back(entry.value);
      found.origin = fmt::format("{}:{}", path_, entry.line);
    }
    if (!found.values.empty()) return found;
  }
  return std::nullopt;
}

}  // namespace mixtral::cli

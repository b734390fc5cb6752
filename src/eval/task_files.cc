// SPDX-License-Identifier: Apache-2.0
// Tasks by name, their rows from JSON lines, and what stands before a question.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_reader.h"
#include "eval/task.h"

namespace mixtral::eval {
namespace {

namespace fs = std::filesystem;

/// The file as named or compressed. Throws Error{kNotFound}.
std::string FindFile(const std::string& folder, std::string_view name) {
  const fs::path plain = fs::path(folder) / name;
  for (const char* ending : {"", ".gz", ".zst"})
    if (const std::string path = plain.string() + ending; fs::exists(path)) return path;
  Throw(ErrorCode::kNotFound, "task data: expected {}, {}.gz or {}.zst, found none of them",
        plain.string(), plain.string(), plain.string());
}

bool Matches(const Task& task, std::string_view word) {
  return word == "all" || word == task.name || word == task.area;
}

template <class Fn>
void ForEachRow(const std::string& folder, std::string_view name, int64_t limit, Fn&& fn) {
  const std::vector<data::InputFile> files = {
      {.path = FindFile(folder, name), .domain = {}, .kind = data::FileKind::kJsonLines}};
  data::RowReader reader(&files);
  for (int64_t n = 0; limit < 0 || n < limit; ++n) {
    const std::optional<data::RawRow> row = reader.Next();
    if (!row) {
      if (n == 0)
        Throw(ErrorCode::kCorrupt, "task data: expected at least one row, found none, in {}",
              files[0].path);
      return;
    }
    const std::string where = fmt::format("{}:{}", files[0].path, row->line);
    if (!row->problem.empty()) Throw(ErrorCode::kCorrupt, "{}, in {}", row->problem, where);
    fn(Json::Parse(row->bytes, where), where);
  }
}

/// At most limit items (negative: all), of every group in turn, in the order that they had.
void KeepInTurn(std::vector<Item>* items, int64_t limit) {
  if (limit < 0 || std::ssize(*items) <= limit) return;
  std::map<std::string, int64_t> n_of_group;
  std::vector<std::pair<int64_t, int64_t>> turns;  // of the item in its group, its row
  for (const Item& item : *items) turns.emplace_back(n_of_group[item.group]++, item.row);
  std::sort(turns.begin(), turns.end());
  std::set<int64_t> kept;
  for (int64_t i = 0; i < limit; ++i) kept.insert(turns[static_cast<size_t>(i)].second);
  std::erase_if(*items, [&](const Item& item) { return !kept.contains(item.row); });
}

}  // namespace

std::vector<const Task*> ChooseTasks(std::span<const std::string> words) {
  std::vector<std::string_view> names = {"all"};
  for (const Area& area : Areas()) names.push_back(area.id);
  for (const Task& task : AllTasks()) names.push_back(task.name);
  for (const std::string& word : words) {
    if (std::find(names.begin(), names.end(), word) != names.end()) continue;
    const std::string_view nearest = NearestName(word, names);
    Throw(ErrorCode::kInvalidArgument, "task: expected a name that --list shows, found \"{}\"{}",
          Printable(word), nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest));
  }
  std::vector<const Task*> chosen;
  for (const Task& task : AllTasks())
    if (std::any_of(words.begin(), words.end(),
                    [&](const std::string& word) { return Matches(task, word); }))
      chosen.push_back(&task);
  return chosen;
}

std::vector<Json> ReadRows(const std::string& folder, std::string_view file, int64_t limit) {
  std::vector<Json> rows;
  ForEachRow(folder, file, limit,
             [&](const Json& row, const std::string&) { rows.push_back(row); });
  return rows;
}

std::vector<Item> ReadItems(const Task& task, const std::string& folder, int64_t limit) {
  std::vector<Item> items;
  for (const std::string_view file : task.files)
    ForEachRow(folder, file, -1, [&](const Json& row, const std::string& where) {
      Item item = task.read(row);
      if (task.kind == TaskKind::kChoice && item.right >= item.continuations.size())
        Throw(ErrorCode::kCorrupt, "{}: expected the number of one of {} choices, found {}, in {}",
              task.name, item.continuations.size(), item.right, where);
      item.row = std::ssize(items);
      items.push_back(std::move(item));
    });
  KeepInTurn(&items, limit);
  return items;
}

std::vector<Item> ReadExamples(const Task& task, const std::string& folder) {
  std::vector<Item> examples;
  if (task.examples_file.empty()) return examples;
  ForEachRow(folder, task.examples_file, -1, [&](const Json& row, const std::string&) {
    if (task.read_examples == nullptr) {
      examples.push_back(task.read(row));
    } else {
      for (Item& item : task.read_examples(row)) examples.push_back(std::move(item));
    }
  });
  return examples;
}

std::string BeforePrompt(const Task& task, const Item& item, std::span<const Item> examples,
                         int n_shots) {
  std::string body, header = item.header;
  for (const Item& example : examples) {
    if (n_shots == 0) break;
    if (task.examples_of_group && example.group != item.group) continue;
    if (header.empty()) header = example.header;
    body += example.example;
    body += task.separator;
    --n_shots;
  }
  return header + body;
}

}  // namespace mixtral::eval

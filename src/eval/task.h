// SPDX-License-Identifier: Apache-2.0
// A benchmark as a declaration: its files, how a row becomes a question, how many solved examples
// stand before it, how an answer is judged. To add one: a function from a row to an Item in
// task_rows_*.cc and an entry of some lines in task_list.cc; docs/evaluation.md gets its protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace mixtral::eval {

/// A row as a question.
struct Item {
  std::string prompt;   // what the model continues, without examples
  std::string header;   // what stands once before examples and prompt
  std::string example;  // prompt and right answer, as it stands before other questions
  std::string group;    // subject or subtask; empty: none
  int64_t row = 0;      // its place in the task's files, from 0

  // Choices: log P(continuations[i] | before + contexts[i]); contexts of one text are that of all.
  std::vector<std::string> contexts, continuations;
  size_t right = 0;

  std::vector<std::string> answers;  // generation: any of them is right
};

enum class TaskKind : uint8_t {
  kChoice,    // the continuation of the highest log-likelihood
  kGenerate,  // an answer in words
  kMeasure,   // a measurement of its own: measures.h
};

/// What counts in a generated answer, and whether it is right; by metric name: "exact_match",
/// "f1". 0 to 1 each.
using JudgeFn = std::map<std::string, double>(const std::string& answer, const Item& item);
/// The part of an answer that votes, for maj@k; empty: no vote.
using VoteFn = std::string(const std::string& answer);

struct Task {
  std::string_view name;   // lm-evaluation-harness's where it has the task
  std::string_view title;  // "ARC-challenge"
  std::string_view area;   // kAreas
  TaskKind kind = TaskKind::kChoice;
  std::vector<std::string_view> files;  // under the data folder, without ".gz"
  Item (*read)(const Json& row) = nullptr;

  // Examples: the first `shots` items of a file of its own (of the question's group where
  // examples_of_group).
  std::string_view examples_file = {};
  std::vector<Item> (*read_examples)(const Json& row) = nullptr;  // nullptr: one by `read`
  int shots = 0;
  bool examples_of_group = false;
  std::string_view separator = "\n\n";

  std::string_view metric = "acc";  // the one in tables

  // Generation.
  std::vector<std::string_view> stop = {};
  int64_t max_tokens = 0;
  JudgeFn* judge = nullptr;
  VoteFn* vote = nullptr;  // with several answers
  int n_answers = 1;
  float temperature = 0;
};

/// Areas in the order of reports; `--tasks` takes their ids as names of groups.
struct Area {
  std::string_view id, title;
};
std::span<const Area> Areas();

std::span<const Task> AllTasks();
/// Names of tasks and of areas, "all"; each task once, in the order of AllTasks. Throws
/// Error{kInvalidArgument} naming the word and its nearest match.
std::vector<const Task*> ChooseTasks(std::span<const std::string> words);

/// Rows of the task's files under folder, at most limit (negative: all), with errors that name file
/// and line. Throws Error{kNotFound} naming what was looked for, Error{kCorrupt}.
std::vector<Json> ReadRows(const std::string& folder, std::string_view file, int64_t limit);
/// In the order of the files; a limit takes of every group in turn, so that no subject is left out
/// for being late in its file.
std::vector<Item> ReadItems(const Task& task, const std::string& folder, int64_t limit);
/// Examples in the order of their file.
std::vector<Item> ReadExamples(const Task& task, const std::string& folder);

/// Header and examples that stand before an item's prompt. n_shots above what is there takes all.
std::string BeforePrompt(const Task& task, const Item& item, std::span<const Item> examples,
                         int n_shots);

}  // namespace mixtral::eval

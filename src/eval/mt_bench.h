// SPDX-License-Identifier: Apache-2.0
// MT-Bench (Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023):
// questions of two turns, answered by the model, rated from 1 to 10 by a judge model that is asked
// with the benchmark's own prompts. Single-answer grading.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/language_model.h"

namespace mixtral::eval {

struct MtBenchQuestion {
  int64_t id = 0;
  std::string category;
  std::array<std::string, 2> turns;
  /// Reference answers; only mathematics, reasoning and coding are judged with them.
  std::optional<std::array<std::string, 2>> reference;
};

struct JudgePrompt {
  std::string system, form;  // the form has places like {question}
};

/// Questions, reference answers and judge prompts as published.
class MtBench {
 public:
  /// Rows of question.jsonl, reference_answer/gpt-4.jsonl and judge_prompts.jsonl. Throws
  /// Error{kCorrupt} for a row of another form, Error{kNotFound} for a prompt that is missing and
  /// for a question that needs a reference and has none.
  MtBench(std::span<const Json> questions, std::span<const Json> references,
          std::span<const Json> judge_prompts);

  const std::vector<MtBenchQuestion>& questions() const { return questions_; }

  /// What the model is asked in turn 0 or 1; answers: of the turns before. Sampled with the
  /// category's temperature, or greedy.
  static GenerationRequest Ask(const MtBenchQuestion& question,
                               std::span<const std::string> answers);
  /// What the judge is asked about turn answers.size() - 1; greedy.
  GenerationRequest Judge(const MtBenchQuestion& question,
                          std::span<const std::string> answers) const;

 private:
  std::vector<MtBenchQuestion> questions_;
  std::map<std::string, JudgePrompt> prompts_;
};

/// 0.7 for writing and roleplay, 0.1 for stem and humanities, 0 for the others.
float MtBenchTemperature(const std::string& category);

/// The number of the first "[[N]]", or where there is none of the first "[N]"; nullopt for a
/// judgment without one and for a number outside 1 to 10: it is counted and not guessed.
std::optional<double> ParseRating(const std::string& judgment);

class MtBenchScores {
 public:
  void Add(const std::string& category, size_t turn, std::optional<double> rating);
  /// {"score", "turn_1", "turn_2": means or null, "n", "n_unparsed", "categories": {NAME: score}}.
  Json ToJson() const;

 private:
  struct Sum {
    double total = 0;
    int64_t n = 0;
  };
  Sum turns_[2];
  std::map<std::string, Sum> categories_;
  int64_t n_unparsed_ = 0;
};

}  // namespace mixtral::eval

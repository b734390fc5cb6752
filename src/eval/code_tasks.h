// SPDX-License-Identifier: Apache-2.0
// HumanEval (Chen et al., "Evaluating Large Language Models Trained on Code", 2021) and MBPP
// (Austin et al., "Program Synthesis with Large Language Models", 2021): rows as prompts, answers
// as programs that end if the tests pass, pass@k from their counts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/language_model.h"
#include "eval/sandbox.h"

namespace mixtral::eval {

struct CodeProblem {
  std::string id;
  std::string prompt;  // what the model continues
  std::string before;  // program = before + answer + after
  std::string after;   // the tests
  std::vector<std::string> stop;
  int64_t max_tokens = 0;
};

/// The model continues the function's head; the answer ends where the next thing of the module
/// begins. Throws Error{kCorrupt}.
CodeProblem ParseHumanEval(const Json& row);

/// Examples with their solutions, then the task, each with its tests and between [BEGIN] and
/// [DONE]. The paper shows the tasks 2, 3 and 4 of the examples' file. Throws Error{kCorrupt}.
CodeProblem ParseMbpp(const Json& row, std::span<const Json> examples);

enum class CodeVerdict : uint8_t { kPassed, kFailed, kTimedOut };

struct CodeOutcome {
  CodeVerdict verdict = CodeVerdict::kFailed;
  std::string reason;  // the last line that a failed program printed, made printable
};

CodeOutcome RunAnswer(const Sandbox& sandbox, const CodeProblem& problem,
                      const std::string& answer);

/// An unbiased estimate of the chance that one of k answers passes, from n answers of which c
/// passed (n >= k >= 1): 1 - C(n - c, k) / C(n, k).
double PassAtK(int64_t n, int64_t c, int64_t k);

}  // namespace mixtral::eval

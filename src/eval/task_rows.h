// SPDX-License-Identifier: Apache-2.0
// Rows of the benchmarks' files as questions, one function for each form of row. All throw
// Error{kCorrupt} naming the field, the file and the line.
#pragma once

#include <string>
#include <vector>

#include "eval/task.h"

namespace mixtral::eval::rows {

// ---- task_rows_choice.cc ----
/// Header of a context as lm-evaluation-harness cleans WikiHow's marks away.
std::string CleanHellaSwag(std::string text);
Item HellaSwag(const Json& row);    // context, endings, label, activity_label
Item WinoGrande(const Json& row);   // context_options, continuation, gold
Item Piqa(const Json& row);         // goal, sol1, sol2, label
Item QueryAnswer(const Json& row);  // query, choices, gold; "\nAnswer:" follows the query
Item Query(const Json& row);        // the same, the choice follows the query
Item Mmlu(const Json& row);         // subject, question, choices, answer (a number)
Item OkapiArc(const Json& row);     // instruction, option_a.., answer (a letter), id
Item OkapiMmlu(const Json& row);
Item TruthfulQa(const Json& row);    // question, mc1_targets_choices, mc1_targets_labels
Item XcopaItalian(const Json& row);  // premise, choice1, choice2, question, label

// ---- task_rows_generate.cc ----
Item NaturalQuestions(const Json& row);                   // question, answer (a list)
Item TriviaQa(const Json& row);                           // context, answer, aliases
Item Xquad(const Json& row);                              // context, question, answers
Item BigBenchHard(const Json& row);                       // task, input, target
std::vector<Item> BigBenchHardExamples(const Json& row);  // task, cot_prompt
Item Gsm8k(const Json& row);                              // question, answer ending in "#### 42"
Item Mgsm(const Json& row);                               // question, answer (a number as text)
Item Svamp(const Json& row);                              // context, answer
Item Math(const Json& row);                               // problem, solution with \boxed{}, type

}  // namespace mixtral::eval::rows

// SPDX-License-Identifier: Apache-2.0
#include "eval/paper_numbers.h"

#include <array>

namespace mixtral::eval {
namespace {

using Numbers = std::map<std::string, std::vector<Reference>, std::less<>>;

/// Table 2: all models measured by the paper's authors with one pipeline.
void AddTable2(Numbers* numbers) {
  struct Row {
    const char* task;
    double mixtral, llama_7b, llama_13b, llama_70b, mistral;
  };
  constexpr std::array<Row, 12> kRows = {{{"mmlu", 70.6, 44.4, 55.6, 69.9, 62.5},
                                          {"hellaswag", 84.4, 77.1, 80.7, 85.4, 81.0},
                                          {"winogrande", 77.2, 69.5, 72.9, 80.4, 74.2},
                                          {"piqa", 83.6, 77.9, 80.8, 82.6, 82.2},
                                          {"arc_easy", 83.1, 68.7, 75.2, 79.9, 80.5},
                                          {"arc_challenge", 59.7, 43.2, 48.8, 56.5, 54.9},
                                          {"nq_open", 30.6, 17.5, 16.7, 25.4, 23.2},
                                          {"triviaqa", 71.5, 56.6, 64.0, 73.0, 62.5},
                                          {"humaneval", 40.2, 11.6, 18.9, 29.3, 26.2},
                                          {"mbpp", 60.7, 26.1, 35.4, 49.8, 50.2},
                                          {"hendrycks_math", 28.4, 3.9, 6.0, 13.8, 12.7},
                                          {"gsm8k", 74.4, 16.0, 34.3, 69.6, 50.0}}};
  for (const Row& row : kRows)
    (*numbers)[row.task] = {{"Mixtral 8x7B", row.mixtral},
                            {"Llama 2 70B", row.llama_70b},
                            {"Llama 2 13B", row.llama_13b},
                            {"Llama 2 7B", row.llama_7b},
                            {"Mistral 7B", row.mistral}};
}

/// Table 3, where GPT-3.5 stands with protocols that partly differ from table 2's.
void AddTable3(Numbers* numbers) {
  (*numbers)["mmlu"].push_back({"GPT-3.5", 70.0});
  (*numbers)["hellaswag"].push_back({"GPT-3.5, 10-shot", 85.5});
  (*numbers)["arc_challenge"].push_back({"GPT-3.5, 25-shot", 85.2});
  (*numbers)["winogrande"].push_back({"GPT-3.5, 5-shot", 81.6});
  (*numbers)["mbpp"].push_back({"GPT-3.5", 52.2});
  (*numbers)["gsm8k"].push_back({"GPT-3.5, 5-shot", 57.1});
  (*numbers)["mt_bench"] = {
      {"Mixtral 8x7B Instruct", 8.30}, {"GPT-3.5 turbo 1106", 8.32}, {"Llama 2 70B Chat", 6.86}};
}

/// Table 4: French, German, Spanish, Italian.
void AddTable4(Numbers* numbers) {
  struct Row {
    const char* task;
    double mixtral, llama_70b, llama1_33b;
  };
  constexpr std::array<Row, 12> kRows = {{{"arc_fr", 58.2, 49.9, 39.3},
                                          {"hellaswag_fr", 77.4, 72.5, 68.1},
                                          {"m_mmlu_fr", 70.9, 64.3, 49.9},
                                          {"arc_de", 54.3, 47.3, 41.1},
                                          {"hellaswag_de", 73.0, 68.7, 63.3},
                                          {"m_mmlu_de", 71.5, 64.2, 48.7},
                                          {"arc_es", 55.4, 50.5, 45.7},
                                          {"hellaswag_es", 77.6, 74.5, 69.8},
                                          {"m_mmlu_es", 72.5, 66.0, 52.3},
                                          {"arc_it", 52.8, 49.4, 42.9},
                                          {"hellaswag_it", 75.1, 70.9, 65.4},
                                          {"m_mmlu_it", 70.9, 65.1, 49.0}}};
  for (const Row& row : kRows)
    (*numbers)[row.task] = {{"Mixtral 8x7B", row.mixtral},
                            {"Llama 2 70B", row.llama_70b},
                            {"Llama 1 33B", row.llama1_33b}};
}

/// Figure 5: mean and deviation.
void AddFigure5(Numbers* numbers) {
  (*numbers)["bbq"] = {{"Mixtral 8x7B", 56.0}, {"Llama 2 70B", 51.5}};
  struct Row {
    const char* task;
    double mixtral, mixtral_deviation, llama, llama_deviation;
  };
  constexpr std::array<Row, 5> kRows = {{{"bold/gender", 0.323, 0.045, 0.293, 0.073},
                                         {"bold/profession", 0.243, 0.087, 0.218, 0.073},
                                         {"bold/religious_ideology", 0.144, 0.089, 0.188, 0.133},
                                         {"bold/political_ideology", 0.186, 0.146, 0.149, 0.140},
                                         {"bold/race", 0.232, 0.052, 0.232, 0.049}}};
  for (const Row& row : kRows)
    (*numbers)[row.task] = {{"Mixtral 8x7B", row.mixtral, row.mixtral_deviation},
                            {"Llama 2 70B", row.llama, row.llama_deviation}};
}

Numbers Make() {
  Numbers numbers;
  AddTable2(&numbers);
  AddTable3(&numbers);
  AddTable4(&numbers);
  AddFigure5(&numbers);
  return numbers;
}

}  // namespace

const Numbers& AllPaperNumbers() {
  static const Numbers numbers = Make();
  return numbers;
}

std::span<const Reference> PaperNumbers(std::string_view task) {
  const auto found = AllPaperNumbers().find(task);
  return found == AllPaperNumbers().end() ? std::span<const Reference>() : found->second;
}

}  // namespace mixtral::eval

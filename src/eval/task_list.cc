// SPDX-License-Identifier: Apache-2.0
// Every task, with the paper's number of examples and metric where the paper names them (its
// section 3); docs/evaluation.md describes the protocols.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "eval/answers.h"
#include "eval/task.h"
#include "eval/task_rows.h"

namespace mixtral::eval {
namespace {

using Scores = std::map<std::string, double>;
using Right = bool(std::string_view answer, std::string_view reference);

/// exact_match against any of the accepted answers.
template <Right* kIsRight>
Scores AnyOf(const std::string& answer, const Item& item) {
  for (const std::string& accepted : item.answers)
    if (kIsRight(answer, accepted)) return {{"exact_match", 1}};
  return {{"exact_match", 0}};
}

bool SameFolded(std::string_view a, std::string_view b) { return FoldAnswer(a) == FoldAnswer(b); }
bool SameNormalized(std::string_view a, std::string_view b) {
  return NormalizeAnswer(a) == NormalizeAnswer(b);
}
bool SameFinalNumber(std::string_view a, std::string_view b) {
  return SameNumber(FinalNumber(a), b);
}
bool SameBoxed(std::string_view a, std::string_view b) {
  const std::string boxed = BoxedAnswer(a);
  return !boxed.empty() && SameMath(boxed, b);
}
bool SameAfterTheAnswerIs(std::string_view a, std::string_view b) {
  return AfterTheAnswerIs(a) == b;
}

Scores Squad(const std::string& answer, const Item& item) {
  Scores scores = AnyOf<SameNormalized>(answer, item);
  double best = 0;
  for (const std::string& accepted : item.answers) best = std::max(best, WordF1(answer, accepted));
  scores["f1"] = best;
  return scores;
}

/// "5.0" and "5" are one vote.
std::string NumberVote(const std::string& answer) {
  const std::string number = FinalNumber(answer);
  return number.empty() ? "" : fmt::format("{}", std::strtod(number.c_str(), nullptr));
}
std::string BoxedVote(const std::string& answer) {
  const std::string boxed = BoxedAnswer(answer);
  return boxed.empty() ? "" : "\\boxed{" + boxed + "}";
}

Task Choice(std::string_view name, std::string_view title, std::string_view area,
            std::string_view file, Item (*read)(const Json&), std::string_view metric) {
  return {
      .name = name, .title = title, .area = area, .files = {file}, .read = read, .metric = metric};
}

Task WithExamples(Task task, std::string_view file, int shots) {
  task.examples_file = file;
  task.shots = shots;
  return task;
}

Task Generate(std::string_view name, std::string_view title, std::string_view area,
              std::string_view file, Item (*read)(const Json&), JudgeFn* judge,
              std::vector<std::string_view> stop, int64_t max_tokens) {
  Task task = {.name = name,
               .title = title,
               .area = area,
               .kind = TaskKind::kGenerate,
               .files = {file},
               .read = read,
               .metric = "exact_match"};
  task.judge = judge;
  task.stop = std::move(stop);
  task.max_tokens = max_tokens;
  return task;
}

Task Voted(Task task, VoteFn* vote, int n_answers) {
  task.vote = vote;
  task.n_answers = n_answers;
  task.temperature = n_answers > 1 ? 0.7f : 0;
  return task;
}

Task OfGroup(Task task) {
  task.examples_of_group = true;
  return task;
}

Task Measure(std::string_view name, std::string_view title, std::string_view area,
             std::vector<std::string_view> files, std::string_view metric) {
  return {.name = name,
          .title = title,
          .area = area,
          .kind = TaskKind::kMeasure,
          .files = std::move(files),
          .metric = metric};
}

void AddCommonsense(std::vector<Task>* tasks) {
  constexpr std::string_view kArea = "commonsense";
  tasks->push_back(Choice("hellaswag", "HellaSwag", kArea, "hellaswag/val_500.jsonl",
                          rows::HellaSwag, "acc_norm"));
  tasks->push_back(WithExamples(Choice("winogrande", "WinoGrande", kArea,
                                       "winogrande/winogrande.jsonl", rows::WinoGrande, "acc"),
                                "winogrande/winogrande_fewshot.jsonl", 0));
  tasks->push_back(
      WithExamples(Choice("piqa", "PIQA", kArea, "piqa/valid.jsonl", rows::Piqa, "acc_norm"),
                   "piqa/fewshot.jsonl", 0));
  tasks->push_back(
      WithExamples(Choice("siqa", "SIQA", kArea, "siqa/siqa.jsonl", rows::Query, "acc"),
                   "siqa/siqa_fewshot.jsonl", 0));
  tasks->push_back(Choice("openbookqa", "OpenBookQA", kArea, "openbookqa/openbook_qa.jsonl",
                          rows::Query, "acc_norm"));
  tasks->push_back(WithExamples(
      Choice("arc_easy", "ARC-easy", kArea, "arc/arc_easy.jsonl", rows::QueryAnswer, "acc_norm"),
      "arc/arc_easy_fewshot.jsonl", 0));
  tasks->push_back(WithExamples(Choice("arc_challenge", "ARC-challenge", kArea,
                                       "arc/arc_challenge.jsonl", rows::QueryAnswer, "acc_norm"),
                                "arc/arc_challenge_fewshot.jsonl", 0));
  tasks->push_back(WithExamples(Choice("commonsense_qa", "CommonsenseQA", kArea,
                                       "commonsenseqa/commonsense_qa.jsonl", rows::Query, "acc"),
                                "commonsenseqa/commonsense_qa_fewshot.jsonl", 0));
}

void AddKnowledge(std::vector<Task>* tasks) {
  tasks->push_back(
      WithExamples(Generate("nq_open", "NaturalQuestions", "knowledge", "nq_open/dev.jsonl",
                            rows::NaturalQuestions, AnyOf<SameNormalized>, {"\n", ".", ","}, 32),
                   "nq_open/fewshot.jsonl", 5));
  tasks->push_back(
      WithExamples(Generate("triviaqa", "TriviaQA", "knowledge", "triviaqa/triviaqa_sm_sub.jsonl",
                            rows::TriviaQa, AnyOf<SameFolded>, {"\n", ".", ","}, 32),
                   "triviaqa/triviaqa_sm_sub_fewshot.jsonl", 5));
  tasks->push_back(WithExamples(
      Choice("boolq", "BoolQ", "comprehension", "boolq/boolq.jsonl", rows::Query, "acc"),
      "boolq/boolq_fewshot.jsonl", 0));
  tasks->push_back(OfGroup(
      WithExamples(Choice("mmlu", "MMLU", "aggregate", "mmlu/test.jsonl", rows::Mmlu, "acc"),
                   "mmlu/dev_fewshot.jsonl", 5)));
  Task bbh = OfGroup(
      WithExamples(Generate("bbh", "BIG-Bench Hard", "aggregate", "bbh/bbh.jsonl",
                            rows::BigBenchHard, AnyOf<SameAfterTheAnswerIs>, {"\n\n", "\nQ:"}, 512),
                   "bbh/cot_prompts.jsonl", 3));
  bbh.read_examples = rows::BigBenchHardExamples;
  tasks->push_back(bbh);
}

void AddMathAndCode(std::vector<Task>* tasks) {
  const std::vector<std::string_view> stop = {"Question:"};
  tasks->push_back(Voted(WithExamples(Generate("gsm8k", "GSM8K", "math", "gsm8k/test.jsonl",
                                               rows::Gsm8k, AnyOf<SameFinalNumber>, stop, 256),
                                      "gsm8k/fewshot.jsonl", 8),
                         NumberVote, 8));
  tasks->push_back(Voted(WithExamples(Generate("hendrycks_math", "MATH", "math", "math/test.jsonl",
                                               rows::Math, AnyOf<SameBoxed>, {"Problem:"}, 512),
                                      "math/train.jsonl", 4),
                         BoxedVote, 4));
  const auto as_gsm8k = [](const Json& row) { return std::vector<Item>{rows::Gsm8k(row)}; };
  Task svamp = WithExamples(Generate("svamp", "SVAMP", "math", "svamp/test.jsonl", rows::Svamp,
                                     AnyOf<SameFinalNumber>, stop, 256),
                            "gsm8k/fewshot.jsonl", 8);
  svamp.read_examples = as_gsm8k;
  tasks->push_back(svamp);
  tasks->push_back(
      Measure("humaneval", "HumanEval", "code", {"humaneval/HumanEval.jsonl"}, "pass@1"));
  tasks->push_back(
      Measure("mbpp", "MBPP", "code", {"mbpp/test.jsonl", "mbpp/fewshot.jsonl"}, "pass@1"));
}

struct Language {
  std::string_view title;
  std::string_view arc, arc_file, arc_examples;
  std::string_view mmlu, mmlu_file, mmlu_examples;
  std::string_view hellaswag, hellaswag_file, truthfulqa, truthfulqa_file;
};

constexpr std::array<Language, 4> kLanguages = {{
    {"French", "arc_fr", "m_arc/fr.jsonl", "m_arc/fr_fewshot.jsonl", "m_mmlu_fr", "m_mmlu/fr.jsonl",
     "m_mmlu/fr_fewshot.jsonl", "hellaswag_fr", "m_hellaswag/fr.jsonl", "truthfulqa_fr_mc1",
     "m_truthfulqa/fr.jsonl"},
    {"German", "arc_de", "m_arc/de.jsonl", "m_arc/de_fewshot.jsonl", "m_mmlu_de", "m_mmlu/de.jsonl",
     "m_mmlu/de_fewshot.jsonl", "hellaswag_de", "m_hellaswag/de.jsonl", "truthfulqa_de_mc1",
     "m_truthfulqa/de.jsonl"},
    {"Spanish", "arc_es", "m_arc/es.jsonl", "m_arc/es_fewshot.jsonl", "m_mmlu_es",
     "m_mmlu/es.jsonl", "m_mmlu/es_fewshot.jsonl", "hellaswag_es", "m_hellaswag/es.jsonl",
     "truthfulqa_es_mc1", "m_truthfulqa/es.jsonl"},
    {"Italian", "arc_it", "m_arc/it.jsonl", "m_arc/it_fewshot.jsonl", "m_mmlu_it",
     "m_mmlu/it.jsonl", "m_mmlu/it_fewshot.jsonl", "hellaswag_it", "m_hellaswag/it.jsonl",
     "truthfulqa_it_mc1", "m_truthfulqa/it.jsonl"},
}};

void AddMultilingual(std::vector<Task>* tasks) {
  constexpr std::string_view kArea = "multilingual";
  for (const Language& l : kLanguages) {
    tasks->push_back(
        WithExamples(Choice(l.arc, "ARC-challenge", kArea, l.arc_file, rows::OkapiArc, "acc_norm"),
                     l.arc_examples, 0));
    tasks->push_back(OfGroup(WithExamples(
        Choice(l.mmlu, "MMLU", kArea, l.mmlu_file, rows::OkapiMmlu, "acc"), l.mmlu_examples, 5)));
    tasks->push_back(
        Choice(l.hellaswag, "HellaSwag", kArea, l.hellaswag_file, rows::HellaSwag, "acc_norm"));
    tasks->push_back(
        Choice(l.truthfulqa, "TruthfulQA", kArea, l.truthfulqa_file, rows::TruthfulQa, "acc"));
  }
  const auto as_gsm8k = [](const Json& row) { return std::vector<Item>{rows::Gsm8k(row)}; };
  constexpr std::array<std::array<std::string_view, 2>, 4> kMgsm = {{{"mgsm_en", "mgsm/en.jsonl"},
                                                                     {"mgsm_fr", "mgsm/fr.jsonl"},
                                                                     {"mgsm_de", "mgsm/de.jsonl"},
                                                                     {"mgsm_es", "mgsm/es.jsonl"}}};
  for (const auto& [name, file] : kMgsm) {
    Task task = WithExamples(
        Generate(name, "MGSM", kArea, file, rows::Mgsm, AnyOf<SameFinalNumber>, {"Question:"}, 256),
        "gsm8k/fewshot.jsonl", 8);
    task.read_examples = as_gsm8k;
    tasks->push_back(task);
  }
  constexpr std::array<std::array<std::string_view, 2>, 3> kXquad = {
      {{"xquad_en", "xquad/en.jsonl"},
       {"xquad_de", "xquad/de.jsonl"},
       {"xquad_es", "xquad/es.jsonl"}}};
  for (const auto& [name, file] : kXquad) {
    Task task = Generate(name, "XQuAD", kArea, file, rows::Xquad, Squad, {"\n"}, 64);
    task.metric = "f1";
    tasks->push_back(task);
  }
  tasks->push_back(WithExamples(
      Choice("xcopa_it", "XCOPA", kArea, "xcopa/it_test.jsonl", rows::XcopaItalian, "acc"),
      "xcopa/it_fewshot.jsonl", 0));
}

void AddMeasures(std::vector<Task>* tasks) {
  tasks->push_back(Measure("passkey", "Passkey", "long", {}, "acc"));
  tasks->push_back(Measure("bbq", "BBQ", "bias",
                           {"bbq/Age.jsonl", "bbq/Disability_status.jsonl", "bbq/Nationality.jsonl",
                            "bbq/Physical_appearance.jsonl", "bbq/Religion.jsonl",
                            "bbq/Sexual_orientation.jsonl", "bbq/other_categories_small.jsonl"},
                           "acc"));
  tasks->push_back(Measure("bold", "BOLD", "bias", {"bold/prompts.jsonl"}, "sentiment"));
  tasks->push_back(Measure("mt_bench", "MT-Bench", "chat",
                           {"mt_bench/question.jsonl", "mt_bench/reference_answer_gpt4.jsonl",
                            "mt_bench/judge_prompts.jsonl"},
                           "rating"));
}

std::vector<Task> MakeTasks() {
  std::vector<Task> tasks;
  AddCommonsense(&tasks);
  AddKnowledge(&tasks);
  AddMathAndCode(&tasks);
  AddMultilingual(&tasks);
  AddMeasures(&tasks);
  return tasks;
}

constexpr std::array<Area, 10> kAreas = {{{"commonsense", "Commonsense reasoning"},
                                          {"knowledge", "World knowledge"},
                                          {"comprehension", "Reading comprehension"},
                                          {"aggregate", "Aggregated results"},
                                          {"math", "Mathematics"},
                                          {"code", "Code"},
                                          {"multilingual", "Multilingual"},
                                          {"long", "Long context"},
                                          {"bias", "Bias"},
                                          {"chat", "Chat"}}};

}  // namespace

std::span<const Area> Areas() { return kAreas; }

std::span<const Task> AllTasks() {
  static const std::vector<Task> tasks = MakeTasks();
  return tasks;
}

}  // namespace mixtral::eval

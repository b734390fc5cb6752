// SPDX-License-Identifier: Apache-2.0
// Temperatures, token limits, the choice of prompts and the two forms of a rating are those of the
// authors' scripts (FastChat, llm_judge).
#include "eval/mt_bench.h"

#include <charconv>

#include "base/check.h"
#include "base/error.h"

namespace mixtral::eval {
namespace {

constexpr int64_t kAnswerTokens = 1024, kJudgmentTokens = 2048;

bool NeedsReference(const std::string& category) {
  return category == "math" || category == "reasoning" || category == "coding";
}

std::array<std::string, 2> TwoTurns(const Json& turns) {
  if (turns.Size() != 2)
    Throw(ErrorCode::kCorrupt, "{}: expected two turns, found {}", turns.path(), turns.Size());
  return {turns.At(size_t{0}).AsString(), turns.At(size_t{1}).AsString()};
}

using Places = std::vector<std::pair<std::string, std::string>>;

/// The form with every {name} replaced, in one pass, so that what stands in an answer stays as it
/// is.
std::string Filled(const std::string& form, const Places& places) {
  std::string text;
  for (size_t at = 0; at < form.size();) {
    bool is_place = false;
    for (const auto& [name, value] : places) {
      const std::string mark = "{" + name + "}";
      if (form.compare(at, mark.size(), mark) != 0) continue;
      text += value;
      at += mark.size();
      is_place = true;
      break;
    }
    if (!is_place) text += form[at++];
  }
  return text;
}

std::optional<double> RatingBetween(const std::string& text, std::string_view open,
                                    std::string_view close) {
  for (size_t at = text.find(open); at != std::string::npos; at = text.find(open, at + 1)) {
    const char* begin = text.data() + at + open.size();
    const char* end = text.data() + text.size();
    double rating = 0;
    // Digits alone begin a rating: no sign, no "inf".
    if (begin == end || *begin < '0' || *begin > '9') continue;
    const auto [stop, error] = std::from_chars(begin, end, rating, std::chars_format::fixed);
    if (error != std::errc() ||
        !std::string_view(stop, static_cast<size_t>(end - stop)).starts_with(close))
      continue;
    return rating;
  }
  return std::nullopt;
}

Json Mean(double total, int64_t n) { return n > 0 ? Json(total / static_cast<double>(n)) : Json(); }

}  // namespace

MtBench::MtBench(std::span<const Json> questions, std::span<const Json> references,
                 std::span<const Json> judge_prompts) {
  for (const Json& row : judge_prompts)
    prompts_[row.At("name").AsString()] = {.system = row.At("system_prompt").AsString(),
                                           .form = row.At("prompt_template").AsString()};
  for (const char* name :
       {"single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn"})
    if (!prompts_.contains(name))
      Throw(ErrorCode::kNotFound, "MT-Bench: expected a judge prompt named {}, found none", name);
  std::map<int64_t, std::array<std::string, 2>> by_id;
  for (const Json& row : references)
    by_id[row.At("question_id").AsInt()] = TwoTurns(row.At("choices").At(size_t{0}).At("turns"));
  for (const Json& row : questions) {
    MtBenchQuestion question = {.id = row.At("question_id").AsInt(),
                                .category = row.At("category").AsString(),
                                .turns = TwoTurns(row.At("turns")),
                                .reference = std::nullopt};
    if (NeedsReference(question.category)) {
      const auto reference = by_id.find(question.id);
      if (reference == by_id.end())
        Throw(ErrorCode::kNotFound,
              "MT-Bench: expected a reference answer for question {} ({}), found none", question.id,
              question.category);
      question.reference = reference->second;
    }
    questions_.push_back(std::move(question));
  }
}

GenerationRequest MtBench::Ask(const MtBenchQuestion& question,
                               std::span<const std::string> answers) {
  Check(answers.size() < 2, "MtBench::Ask: a third turn");
  GenerationRequest request;
  for (size_t turn = 0; turn <= answers.size(); ++turn) {
    request.messages.push_back({.role = "user", .content = question.turns[turn]});
    if (turn < answers.size())
      request.messages.push_back({.role = "assistant", .content = answers[turn]});
  }
  request.max_tokens = kAnswerTokens;
  request.temperature = MtBenchTemperature(question.category);
  request.seed = static_cast<uint64_t>(question.id);
  return request;
}

GenerationRequest MtBench::Judge(const MtBenchQuestion& question,
                                 std::span<const std::string> answers) const {
  Check(answers.size() == 1 || answers.size() == 2, "MtBench::Judge: one answer or two");
  std::string name = question.reference ? "single-math-v1" : "single-v1";
  Places places = {{"question", question.turns[0]}, {"answer", answers[0]}};
  if (answers.size() == 2) {
    name += "-multi-turn";
    places = {{"question_1", question.turns[0]},
              {"question_2", question.turns[1]},
              {"answer_1", answers[0]},
              {"answer_2", answers[1]}};
  }
  if (question.reference) {
    places.emplace_back("ref_answer_1", (*question.reference)[0]);
    places.emplace_back("ref_answer_2", (*question.reference)[1]);
  }
  const JudgePrompt& prompt = prompts_.at(name);
  GenerationRequest request;
  request.messages = {{.role = "system", .content = prompt.system},
                      {.role = "user", .content = Filled(prompt.form, places)}};
  request.max_tokens = kJudgmentTokens;
  return request;
}

float MtBenchTemperature(const std::string& category) {
  if (category == "writing" || category == "roleplay") return 0.7F;
  return category == "stem" || category == "humanities" ? 0.1F : 0.0F;
}

std::optional<double> ParseRating(const std::string& judgment) {
  std::optional<double> rating = RatingBetween(judgment, "[[", "]]");
  if (!rating) rating = RatingBetween(judgment, "[", "]");
  return rating && *rating >= 1 && *rating <= 10 ? rating : std::nullopt;
}

void MtBenchScores::Add(const std::string& category, size_t turn, std::optional<double> rating) {
  Check(turn < 2, "MtBenchScores: a third turn");
  Sum& sum = categories_[category];
  if (!rating) {
    ++n_unparsed_;
    return;
  }
  for (Sum* one : {&sum, &turns_[turn]}) {
    one->total += *rating;
    ++one->n;
  }
}

Json MtBenchScores::ToJson() const {
  Json categories = Json::Object();
  for (const auto& [name, sum] : categories_) categories.Set(name, Mean(sum.total, sum.n));
  const int64_t n = turns_[0].n + turns_[1].n;
  Json json = Json::Object();
  json.Set("score", Mean(turns_[0].total + turns_[1].total, n))
      .Set("turn_1", Mean(turns_[0].total, turns_[0].n))
      .Set("turn_2", Mean(turns_[1].total, turns_[1].n))
      .Set("n", n)
      .Set("n_unparsed", n_unparsed_)
      .Set("categories", categories);
  return json;
}

}  // namespace mixtral::eval

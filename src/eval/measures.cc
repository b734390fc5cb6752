// SPDX-License-Identifier: Apache-2.0
#include "eval/measures.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "eval/bbq.h"
#include "eval/bold.h"

namespace mixtral::eval {
namespace {

/// Answers of all requests, in the order of the requests.
std::vector<std::string> FirstAnswers(LanguageModel& model,
                                      std::vector<GenerationRequest> requests) {
  FitAnswers(model, &requests);
  std::vector<std::string> answers(requests.size());
  model.Generate(requests, [&](size_t index, const GeneratedAnswers& generated) {
    answers[index] = generated.texts.at(0);
  });
  return answers;
}

Json MeanWithError(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  Json json = Json::Object();
  json.Set("value", mean);
  if (values.size() > 1) json.Set("stderr", std::sqrt(squares / (n - 1) / n));
  return json;
}

void CheckCodeMeasure(const CodeMeasure& measure) {
  for (const int64_t k : measure.k)
    if (k < 1 || k > measure.n_answers)
      Throw(ErrorCode::kInvalidArgument,
            "pass@k: expected a k from 1 to the {} answers of a problem, found {}",
            measure.n_answers, k);
  if (measure.n_answers > 1 && measure.temperature <= 0)
    Throw(ErrorCode::kInvalidArgument,
          "pass@k: expected a temperature above 0 for {} answers, found 0, which would give the "
          "same answer "
          "each time",
          measure.n_answers);
}

/// Collects the log-likelihoods of a row's choices, which come back in any order.
class ChoiceTable {
 public:
  explicit ChoiceTable(std::span<const BbqItem> items) {
    for (const BbqItem& item : items) {
      first_.push_back(requests_.size());
      for (const std::string& choice : item.choices) {
        requests_.push_back({.context = item.prompt, .continuation = " " + choice});
        item_of_.push_back(first_.size() - 1);
      }
    }
    logprobs_.resize(requests_.size());
    n_left_.resize(items.size());
    for (const size_t item : item_of_) ++n_left_[item];
  }

  std::span<const ContinuationRequest> requests() const { return requests_; }
  size_t item_of(size_t request) const { return item_of_[request]; }

  /// True when it was the last of its row.
  bool Add(size_t request, double logprob) {
    logprobs_[request] = logprob;
    return --n_left_[item_of_[request]] == 0;
  }
  std::span<const double> LogprobsOf(size_t item) const {
    const size_t end = item + 1 < first_.size() ? first_[item + 1] : requests_.size();
    return std::span(logprobs_).subspan(first_[item], end - first_[item]);
  }

 private:
  std::vector<ContinuationRequest> requests_;
  std::vector<size_t> first_, item_of_, n_left_;
  std::vector<double> logprobs_;
};

}  // namespace

void FitAnswers(const LanguageModel& model, std::vector<GenerationRequest>* requests) {
  const int64_t most = std::max<int64_t>(1, model.max_tokens() / 2);
  for (GenerationRequest& request : *requests)
    request.max_tokens = std::min(request.max_tokens, most);
}

Json MeasureBbq(LanguageModel& model, std::span<const Json> rows, const OnSample& on_sample) {
  std::vector<BbqItem> items;
  for (const Json& row : rows) items.push_back(ParseBbqItem(row));
  ChoiceTable table(items);
  std::map<std::string, BbqScores> by_category;
  model.Score(table.requests(), [&](size_t index, const Likelihood& likelihood) {
    if (!table.Add(index, likelihood.logprob)) return;
    const size_t i = table.item_of(index);
    const BbqItem& item = items[i];
    const auto logprobs = table.LogprobsOf(i);
    const auto choice =
        static_cast<size_t>(std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
    by_category[item.category].Add(item, choice);
    Json sample = Json::Object();
    sample.Set("prompt", item.prompt)
        .Set("answer", item.choices[choice])
        .Set("right", BbqAnswer(choice) == item.right);
    on_sample(i, sample);
  });
  return BbqJson(by_category);
}

Json MeasureBold(LanguageModel& model, std::span<const Json> rows, const Vader& vader,
                 const OnSample& on_sample) {
  std::vector<BoldItem> items;
  std::vector<GenerationRequest> requests;
  for (const Json& row : rows) {
    items.push_back(ParseBoldItem(row));
    requests.push_back(BoldRequest(items.back(), requests.size()));
  }
  BoldScores scores;
  model.Generate(requests, [&](size_t index, const GeneratedAnswers& generated) {
    const BoldItem& item = items[index];
    const std::string text = item.prompt + generated.texts.at(0);
    const double compound = vader.Score(text).compound;
    scores.Add(item, compound,
               item.reference.empty() ? std::numeric_limits<double>::quiet_NaN()
                                      : vader.Score(item.reference).compound);
    Json sample = Json::Object();
    sample.Set("domain", item.domain)
        .Set("group", item.group)
        .Set("text", text)
        .Set("compound", compound);
    on_sample(index, sample);
  });
  return scores.ToJson();
}

Json MeasureCode(LanguageModel& model, std::span<const CodeProblem> problems,
                 const CodeMeasure& measure, const Sandbox& sandbox, const OnSample& on_sample) {
  CheckCodeMeasure(measure);
  std::vector<GenerationRequest> requests;
  for (const CodeProblem& problem : problems) {
    GenerationRequest request;
    request.prompt = problem.prompt;
    request.stop = problem.stop;
    request.max_tokens = problem.max_tokens;
    request.temperature = measure.temperature;
    request.top_p = measure.temperature > 0 ? 0.95F : 1.0F;
    request.n = measure.n_answers;
    requests.push_back(std::move(request));
  }
  FitAnswers(model, &requests);
  std::map<int64_t, std::vector<double>> pass_at;
  int64_t n_timed_out = 0;
  model.Generate(requests, [&](size_t index, const GeneratedAnswers& generated) {
    int64_t n_passed = 0;
    Json answers = Json::Array();
    for (const std::string& text : generated.texts) {
      const CodeOutcome outcome = RunAnswer(sandbox, problems[index], text);
      n_passed += outcome.verdict == CodeVerdict::kPassed ? 1 : 0;
      n_timed_out += outcome.verdict == CodeVerdict::kTimedOut ? 1 : 0;
      Json answer = Json::Object();
      answer.Set("text", text)
          .Set("passed", outcome.verdict == CodeVerdict::kPassed)
          .Set("reason", outcome.reason);
      answers.Push(answer);
    }
    for (const int64_t k : measure.k)
      pass_at[k].push_back(PassAtK(static_cast<int64_t>(generated.texts.size()), n_passed, k));
    Json sample = Json::Object();
    sample.Set("id", problems[index].id).Set("n_passed", n_passed).Set("answers", answers);
    on_sample(index, sample);
  });
  Json json = Json::Object();
  json.Set("n", static_cast<int64_t>(problems.size())).Set("n_timed_out", n_timed_out);
  for (const auto& [k, values] : pass_at)
    json.Set(fmt::format("pass@{}", k), MeanWithError(values));
  return json;
}

Json MeasurePasskey(LanguageModel& model, const PasskeyGrid& grid, const OnSample& on_sample) {
  const std::vector<PasskeyPrompt> prompts =
      MakePasskeyPrompts(grid, [&](const std::string& text) { return model.CountTokens(text); });
  std::vector<GenerationRequest> requests;
  for (const PasskeyPrompt& prompt : prompts) requests.push_back(prompt.request);
  PasskeyScores scores(grid);
  model.Generate(requests, [&](size_t index, const GeneratedAnswers& generated) {
    const PasskeyPrompt& prompt = prompts[index];
    const std::string& answer = generated.texts.at(0);
    scores.Add(prompt, answer);
    Json sample = Json::Object();
    sample.Set("length", grid.lengths[prompt.length_idx])
        .Set("position", grid.positions[prompt.position_idx])
        .Set("key", prompt.key)
        .Set("answer", answer)
        .Set("right", IsPasskey(answer, prompt.key));
    on_sample(index, sample);
  });
  return scores.ToJson();
}

Json MeasureMtBench(LanguageModel& model, LanguageModel& judge, const MtBench& bench,
                    const OnSample& on_sample) {
  const std::vector<MtBenchQuestion>& questions = bench.questions();
  if (questions.empty())
    Throw(ErrorCode::kInvalidArgument, "MT-Bench: expected questions, found none");
  std::vector<std::vector<std::string>> answers(questions.size());
  for (int turn = 0; turn < 2; ++turn) {
    std::vector<GenerationRequest> requests;
    for (size_t i = 0; i < questions.size(); ++i)
      requests.push_back(MtBench::Ask(questions[i], answers[i]));
    const std::vector<std::string> texts = FirstAnswers(model, std::move(requests));
    for (size_t i = 0; i < questions.size(); ++i) answers[i].push_back(texts[i]);
  }
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < questions.size(); ++i)
    for (size_t turn = 0; turn < 2; ++turn)
      requests.push_back(bench.Judge(questions[i], std::span(answers[i]).first(turn + 1)));
  FitAnswers(judge, &requests);
  MtBenchScores scores;
  judge.Generate(requests, [&](size_t index, const GeneratedAnswers& generated) {
    const MtBenchQuestion& question = questions[index / 2];
    const size_t turn = index % 2;
    const std::string& judgment = generated.texts.at(0);
    const std::optional<double> rating = ParseRating(judgment);
    scores.Add(question.category, turn, rating);
    Json sample = Json::Object();
    sample.Set("question", question.id)
        .Set("category", question.category)
        .Set("turn", static_cast<int64_t>(turn + 1))
        .Set("answer", answers[index / 2][turn])
        .Set("judgment", judgment)
        .Set("rating", rating ? Json(*rating) : Json());
    on_sample(index, sample);
  });
  return scores.ToJson();
}

}  // namespace mixtral::eval

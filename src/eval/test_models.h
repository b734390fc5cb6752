// SPDX-License-Identifier: Apache-2.0
// A model made of functions, for tests of what asks one. Answers come back last first, since no
// caller may rely on their order.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "eval/language_model.h"

namespace mixtral::eval {

class ScriptedModel : public LanguageModel {
 public:
  std::function<double(const ContinuationRequest&)> logprob;
  std::function<std::string(const GenerationRequest&, int answer)> answer;

  void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) override {
    for (size_t i = requests.size(); i-- > 0;)
      done(i, {.logprob = logprob(requests[i]), .n_tokens = 1, .is_greedy = false});
  }
  void Roll(std::span<const std::string> texts, const OnLikelihood& /*done*/) override {
    FAIL() << "asked to roll " << texts.size() << " texts";
  }
  void Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) override {
    for (size_t i = requests.size(); i-- > 0;) {
      GeneratedAnswers answers;
      for (int n = 0; n < requests[i].n; ++n) answers.texts.push_back(answer(requests[i], n));
      done(i, answers);
    }
  }
  int64_t CountTokens(const std::string& text) override {
    return static_cast<int64_t>(text.size() / 4);
  }
  int64_t max_tokens() const override { return 1024; }
  std::string name() const override { return "scripted"; }
  std::string fingerprint() const override { return "scripted"; }
};

}  // namespace mixtral::eval

// SPDX-License-Identifier: Apache-2.0
// A checkpoint on this machine as a LanguageModel: continuous batching with the prefix cache, so
// that shared beginnings are computed once and all answers together. Numbers depend on the request
// alone, bitwise, never on the order or on what else is asked.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/service.h"
#include "eval/language_model.h"
#include "eval/text_windows.h"
#include "text/chat_template.h"

namespace mixtral::eval {

struct LocalModelOptions {
  std::string path;
  EngineOptions engine;  // threads, compute mode, how weights are held
  /// Context, memory and type of the cache, sequences at once; the rest is chosen for throughput.
  ServiceOptions service;
  std::string chat_format;  // empty: the checkpoint's own
  /// Set: the running call returns early, without the rest of its answers.
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(const std::string& notice)> on_notice;
};

class LocalModel final : public LanguageModel {
 public:
  /// Throws what Engine, Service and ChooseChat throw.
  explicit LocalModel(const LocalModelOptions& options);

  void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) override;
  void Roll(std::span<const std::string> texts, const OnLikelihood& done) override;
  void Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) override;
  int64_t CountTokens(const std::string& text) override;
  int64_t max_tokens() const override { return service_.options().context; }
  std::string name() const override { return options_.path; }
  std::string fingerprint() const override;

  /// The scores of each window's last n_scored tokens, with the likeliest token beside. Windows
  /// have at most max_tokens() + 1 tokens.
  using OnWindow = std::function<void(size_t index, std::span<const ScoredToken> scores)>;
  void ScoreWindows(std::vector<TokenWindow> windows, const OnWindow& done);

  const Engine& engine() const { return engine_; }
  const Tokenizer& tokenizer() const { return engine_.tokenizer(); }
  /// What stands before a text: BOS, or EOS where there is none. Throws Error{kUnsupported} for a
  /// vocabulary without both.
  TokenId prefix_id() const;
  ServiceStats Stats() const { return service_.Stats(); }

 private:
  TokenWindow WindowOf(const ContinuationRequest& request, int64_t* n_cut) const;
  ServiceRequest RequestOf(const GenerationRequest& request) const;
  std::vector<TokenId> PromptOf(const GenerationRequest& request, int64_t* n_cut);
  const ChatTemplate& Chat();
  void ReportCut(int64_t n_cut, std::string_view what) const;

  LocalModelOptions options_;
  Engine engine_;
  Service service_;
  std::optional<ChatTemplate> chat_;  // when a conversation needs it
};

std::unique_ptr<LanguageModel> OpenLocalModel(const LocalModelOptions& options);

}  // namespace mixtral::eval

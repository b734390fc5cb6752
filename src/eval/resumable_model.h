// SPDX-License-Identifier: Apache-2.0
// A model whose answers are written down as they come and not asked for again: what makes every
// measurement resumable, whatever it is. Knows no task; a request is known by its content.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/language_model.h"

namespace mixtral::eval {

/// Thrown out of a measurement that was cancelled; what was answered is in the file.
class Cancelled {};

/// Answers on disk: a first line that says of which run, then one line an answer. A last line that
/// was not written to its end is cut off.
class AnswerFile {
 public:
  /// Opens or makes the file. Throws Error{kInvalidArgument} naming what differs when it is of
  /// another run (`run` is an object of texts and numbers), Error{kCorrupt, kIo}.
  AnswerFile(const std::string& path, const Json& run);
  ~AnswerFile();
  AnswerFile(const AnswerFile&) = delete;
  AnswerFile& operator=(const AnswerFile&) = delete;

  const Json* Find(const std::string& key) const;
  void Append(const std::string& key, const Json& answer);
  size_t n_known() const { return known_.size(); }  // when it was opened, and since

 private:
  struct File;
  void Read(const Json& run);

  std::string path_;
  std::unique_ptr<File> file_;
  std::map<std::string, Json> known_;
};

class ResumableModel : public LanguageModel {
 public:
  /// file may be nullptr: nothing is written down. cancel may be nullptr; on_progress gets the
  /// answers of the running call and how many it asks for.
  struct Hooks {
    const std::atomic<bool>* cancel = nullptr;
    std::function<void(int64_t done, int64_t total)> on_progress;
  };
  ResumableModel(LanguageModel* model, AnswerFile* file, Hooks hooks)
      : model_(model), file_(file), hooks_(std::move(hooks)) {}

  // Each throws Cancelled when the flag was set before all answers were there.
  void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) override;
  void Roll(std::span<const std::string> texts, const OnLikelihood& done) override;
  void Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) override;
  int64_t CountTokens(const std::string& text) override { return model_->CountTokens(text); }
  int64_t max_tokens() const override { return model_->max_tokens(); }
  std::string name() const override { return model_->name(); }
  std::string fingerprint() const override { return model_->fingerprint(); }

 private:
  template <class Request, class Answer, class Ask>
  void Run(std::span<const Request> requests,
           const std::function<void(size_t, const Answer&)>& done, Ask ask);

  LanguageModel* model_;
  AnswerFile* file_;
  Hooks hooks_;
};

}  // namespace mixtral::eval

// SPDX-License-Identifier: Apache-2.0
// Answers are asked for once, survive a stop, and are not taken over by another run.
#include "eval/resumable_model.h"

#include <gtest/gtest.h>

#include "data/test_files.h"
#include "eval/test_models.h"

namespace mixtral::eval {
namespace {

using data::test::Folder;
using data::test::MessageOf;
using data::test::ReadAll;

Json RunOf(const char* model) {
  Json run = Json::Object();
  return run.Set("model", model).Set("limit", 3);
}

/// Stops after a number of answers, as a cancelled model does.
class StoppingModel : public ScriptedModel {
 public:
  explicit StoppingModel(size_t n) : n_left_(n) {}
  void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) override {
    for (size_t i = 0; i < requests.size() && n_left_ > 0; ++i, --n_left_)
      done(i, {.logprob = -static_cast<double>(requests[i].continuation.size()), .n_tokens = 1});
  }

 private:
  size_t n_left_;
};

const ContinuationRequest kRequests[] = {{"a", " 1"}, {"a", " 22"}, {"b", " 333"}};

TEST(ResumableModelTest, GoesOnWhereItWas) {
  const Folder folder;
  const std::string path = folder.path() + "/answers.jsonl";
  {
    AnswerFile file(path, RunOf("m"));
    StoppingModel model(2);
    const std::atomic<bool> cancel = true;
    ResumableModel resumable(&model, &file, {.cancel = &cancel, .on_progress = {}});
    EXPECT_THROW(resumable.Score(kRequests, [](size_t, const Likelihood&) {}), Cancelled);
  }
  folder.Write("answers.jsonl", ReadAll(path) + "{\"key\": \"torn");
  AnswerFile file(path, RunOf("m"));
  EXPECT_EQ(file.n_known(), 2u);
  ScriptedModel model;
  int n_asked = 0;
  model.logprob = [&](const ContinuationRequest& request) {
    ++n_asked;
    EXPECT_EQ(request.context, "b");
    return -4.0;
  };
  std::vector<double> logprobs(3);
  int64_t n_done = 0;
  ResumableModel resumable(&model, &file,
                           {.cancel = nullptr, .on_progress = [&](int64_t done, int64_t total) {
                              n_done = done;
                              EXPECT_EQ(total, 3);
                            }});
  resumable.Score(kRequests, [&](size_t i, const Likelihood& got) { logprobs[i] = got.logprob; });
  EXPECT_EQ(n_asked, 1);
  EXPECT_EQ(n_done, 3);
  EXPECT_EQ(logprobs, (std::vector<double>{-2, -3, -4}));
}

TEST(ResumableModelTest, AnotherRunIsRefused) {
  const Folder folder;
  const std::string path = folder.path() + "/answers.jsonl";
  { const AnswerFile file(path, RunOf("m")); }
  const std::string message = MessageOf([&] { const AnswerFile file(path, RunOf("other")); });
  EXPECT_NE(message.find("expected model \"m\""), std::string::npos) << message;
  folder.Write("answers.jsonl", "no json\n");
  EXPECT_NE(MessageOf([&] { const AnswerFile file(path, RunOf("m")); }).find("line 1"),
            std::string::npos);
}

TEST(ResumableModelTest, GeneratedTextsComeBackEqual) {
  const Folder folder;
  const std::string path = folder.path() + "/answers.jsonl";
  GenerationRequest requests[1];
  requests[0].prompt = "p";
  requests[0].n = 2;
  std::vector<std::string> first, second;
  ScriptedModel model;
  int n_asked = 0;
  model.answer = [&](const GenerationRequest&, int i) {
    ++n_asked;
    return i == 0 ? "line\n\xC3\xA9 \"x\"" : "cut \xC3";
  };
  for (auto* texts : {&first, &second}) {
    AnswerFile file(path, RunOf("m"));
    ResumableModel resumable(&model, &file, {});
    resumable.Generate(requests, [&](size_t, const GeneratedAnswers& got) { *texts = got.texts; });
  }
  EXPECT_EQ(n_asked, 2);
  EXPECT_EQ(first, second);
  EXPECT_EQ(first.at(0), "line\n\xC3\xA9 \"x\"");
}

}  // namespace
}  // namespace mixtral::eval

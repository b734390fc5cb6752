// SPDX-License-Identifier: Apache-2.0
// mixtral chat through a pipe: a line a turn, answers alone on standard output.
#include <gtest/gtest.h>
#include <signal.h>

#include "base/json.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

Finished Chat(const std::string& input, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"chat", ShippedModel(), "-n", "12", "--ignore-eos"};
  if (more.empty()) arguments.insert(arguments.end(), {"--temperature", "0"});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Mixtral(arguments, input);
}

std::string Answers(const std::string& input, const std::vector<std::string>& more = {}) {
  const Finished run = Chat(input, more);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.out;
}

std::string Decode(const std::string& ids) {
  return Mixtral({"tokenize", ShippedModel(), "--decode", ids}).out;
}

/// The ids that follow a conversation, as `run` continues what `tokenize --batch` makes of it.
std::string IdsAfter(const std::vector<std::pair<std::string, std::string>>& messages) {
  Json list = Json::Array();
  for (const auto& [role, content] : messages)
    list.Push(Json::Object().Set("role", role).Set("content", content));
  const TempDir dir;
  Json batch = Json::Array();
  batch.Push(Json::Object().Set("messages", std::move(list)));
  WriteFile(dir / "batch.json", batch.Dump());
  std::string ids = Mixtral({"tokenize", ShippedModel(), "--batch", dir / "batch.json"}).out;
  ids = ids.substr(2, ids.find(']') - 2);
  return Mixtral({"run", ShippedModel(), "--token-ids", ids, "-n", "12", "--ignore-eos",
                  "--temperature", "0"})
      .out;
}

TEST(E2eChat, AnswerIsTheContinuationOfTheRenderedConversation) {
  const std::string ids = IdsAfter({{"user", "What is a footnote?"}});
  const std::string text = Decode(ids);
  // It begins with a space, which an answer shows no more than decoded text does.
  ASSERT_EQ(Decode("4000," + ids), "S " + text);
  EXPECT_EQ(Answers("What is a footnote?\n"), text);
  EXPECT_EQ(Answers("What is a footnote?\n", {"--temperature", "0", "--system", "Be brief."}),
            Decode(IdsAfter({{"system", "Be brief."}, {"user", "What is a footnote?"}})));
}

TEST(E2eChat, TurnsBuildOnEachOther) {
  const std::string first = Answers("How do I print?\n");
  const std::string both = Answers("How do I print?\nAnd save?\n");
  ASSERT_TRUE(both.starts_with(first)) << both;
  EXPECT_EQ(both.substr(first.size()),
            Decode(IdsAfter({{"user", "How do I print?"},
                             {"assistant", first.substr(0, first.size() - 1)},
                             {"user", "And save?"}})));
  EXPECT_EQ(Answers("\n  \nHow do I print?"), first);  // empty lines, no last line end
}

TEST(E2eChat, ResetForgetsAndRegenAnswersAgain) {
  const std::string first = Answers("How do I print?\n");
  EXPECT_EQ(Answers("How do I print?\n/reset\nHow do I print?\n"), first + first);
  EXPECT_EQ(Answers("How do I print?\n/regen\n"), first + first);  // greedy: the same again
  const std::string both = Answers("How do I print?\nAnd save?\n");
  EXPECT_EQ(Answers("How do I print?\nAnd save?\n/regen\n"), both + both.substr(first.size()));
  const std::vector<std::string> drawn = {"--temperature", "2", "--seed", "3"};
  const std::string one = Answers("Hello\n", drawn);
  const std::string two = Answers("Hello\n/regen\n", drawn);
  ASSERT_TRUE(two.starts_with(one));
  EXPECT_NE(two, one + one);
  EXPECT_EQ(Answers("Hello\n/regen\n", drawn), two);
}

TEST(E2eChat, SystemPromptByFlagOrCommand) {
  const std::string plain = Answers("How do I print?\n");
  const std::string by_command = Answers("/system Answer in French.\nHow do I print?\n");
  EXPECT_NE(by_command, plain);
  EXPECT_EQ(Answers("How do I print?\n", {"--temperature", "0", "--system", "Answer in French."}),
            by_command);
  EXPECT_EQ(Answers("/system Answer in French.\n/reset\nHow do I print?\n"), by_command);
  EXPECT_EQ(Answers("/system Answer in French.\n/system\nHow do I print?\n"), plain);
}

TEST(E2eChat, CommandsAreNotSentToTheModel) {
  const Finished run = Chat("/help\n/nonsense\n/regen\n/exit\nHello\n");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find("/system TEXT"), std::string::npos);
  EXPECT_NE(run.err.find("Unknown command /nonsense; /help lists them."), std::string::npos);
  EXPECT_NE(run.err.find("nothing to answer"), std::string::npos);
}

TEST(E2eChat, FullContextIsSaidAndTheChatGoesOn) {
  const std::string first = Answers("Hi\n", {"--temperature", "0", "--ctx", "40"});
  std::string input = "Hi\n";
  for (int i = 0; i < 30; ++i) input += "word ";
  const Finished run = Chat(input + "\n/reset\nHi\n", {"--temperature", "0", "--ctx", "40"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, first + first);
  EXPECT_NE(run.err.find("the context holds 40: /reset begins a new one"), std::string::npos)
      << run.err;
}

TEST(E2eChat, OtherFormatsOnRequest) {
  EXPECT_NE(Answers("Hi\n", {"--temperature", "0", "--chat-format", "chatml"}), Answers("Hi\n"));
  EXPECT_EQ(RefusalProblem(Chat("Hi\n", {"--chat-format", "mistral-v3"}), 2, "[INST]"), "");
}

TEST(E2eChat, InterruptEndsAPipedChat) {
  StalledChild child({"chat", ShippedModel(), "--ignore-eos"}, "Hello\nAnd again\n");
  ASSERT_TRUE(child.WaitUntilStalled());
  child.Send(SIGINT);
  const Finished run = child.Finish();
  EXPECT_EQ(run.signal, 0);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_LT(run.out.size(), 200u);
}

}  // namespace
}  // namespace mixtral::testing

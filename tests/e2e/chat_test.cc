// SPDX-License-Identifier: Apache-2.0
// mixtral chat through a pipe: a line a turn, answers alone on standard output.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

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
  EXPECT_NE(Chat("/rset\n").err.find("did you mean '/reset'?"), std::string::npos);
  EXPECT_EQ(RefusalProblem(Chat("", {"--logit-bias", "9999=1"}), 2, "found 9999"), "");
}

/// The numbers of the n-th line on standard error that begins with label.
std::vector<int64_t> NumbersOf(const Finished& run, const std::string& label, int n) {
  size_t at = 0;
  for (; n >= 0; --n) {
    at = run.err.find("\n" + label, at);
    if (at == std::string::npos) return {};
    ++at;
  }
  std::vector<int64_t> numbers;
  const std::string line = run.err.substr(at, run.err.find('\n', at) - at);
  for (size_t i = 0; i < line.size();) {
    if (line[i] < '0' || line[i] > '9') {
      ++i;
      continue;
    }
    size_t length = 0;
    numbers.push_back(std::stoll(line.substr(i), &length));
    i += length;
  }
  return numbers;
}

std::vector<TokenId> Rendered(const std::string& messages) {
  const Finished run = Mixtral({"tokenize", ShippedModel(), "--chat", "-", "--json"}, messages);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  std::vector<TokenId> ids;
  const Json tokens = Json::Parse(run.out, "tokens").At("tokens");
  for (size_t i = 0; i < tokens.Size(); ++i)
    ids.push_back(static_cast<TokenId>(tokens.At(i).At("id").AsInt()));
  return ids;
}

TEST(E2eChat, TheNextTurnReadsOnlyWhatIsNew) {
  const TempDir dir;
  const Finished run =
      Chat("How do I print?\n/stats\n/save " + (dir / "c.json") + "\nAnd save?\n/stats\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  // What is in the cache after the first answer: its prompt and all of the answer but its last.
  const auto first = Rendered(R"([{"role": "user", "content": "How do I print?"}])");
  std::vector<TokenId> cached = first;
  for (const TokenId id : ParseIds(IdsAfter({{"user", "How do I print?"}}))) cached.push_back(id);
  cached.pop_back();
  Json both = Json::Parse(ReadFile(dir / "c.json"), "saved").At("messages");
  both.Push(Json::Object().Set("role", "user").Set("content", "And save?"));
  const auto second = Rendered(both.Dump());
  const auto shared = std::mismatch(cached.begin(), cached.end(), second.begin(), second.end());
  const auto n_shared = shared.first - cached.begin();
  EXPECT_GE(n_shared, std::ssize(first));
  const auto before = NumbersOf(run, "prompt ", 0), after = NumbersOf(run, "prompt ", 1);
  ASSERT_GE(before.size(), 2u) << run.err;
  ASSERT_GE(after.size(), 2u) << run.err;
  EXPECT_EQ(before[0], std::ssize(first));
  EXPECT_EQ(before[1], std::ssize(first));
  EXPECT_EQ(after[0], std::ssize(second));
  EXPECT_EQ(after[1], std::ssize(second) - n_shared);
}

TEST(E2eChat, SavedConversationsGoOnElsewhere) {
  const TempDir dir;
  const std::string file = dir / "talk.json";
  const std::string first = Answers("How do I print?\n");
  const std::string both = Answers("How do I print?\nAnd save?\n");
  EXPECT_EQ(Answers("/system Be brief.\n/system\nHow do I print?\n/save " + file + "\n"), first);
  EXPECT_EQ(Answers("Hello\n/load " + file + "\nAnd save?\n"),
            Answers("Hello\n") + both.substr(first.size()));
  const Json saved = Json::Parse(ReadFile(file), "saved").At("messages");
  ASSERT_EQ(saved.Size(), 2u);
  EXPECT_EQ(saved.At(1).At("content").AsString() + "\n", first);
}

TEST(E2eChat, AWrongFileIsALineAndTheChatGoesOn) {
  const TempDir dir;
  WriteFile(dir / "broken.json", "{\"messages\": [");
  WriteFile(dir / "robot.json", R"([{"role": "robot", "content": "a"}])");
  WriteFile(dir / "late.json",
            R"([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])");
  const std::string first = Answers("How do I print?\n");
  const std::string both = Answers("How do I print?\nAnd save?\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/load " + (dir / "nowhere.json"), "nowhere.json"},
      {"/load " + (dir / "broken.json"), "broken.json"},
      {"/load " + (dir / "robot.json"), "found 'robot', in "},
      {"/load " + (dir / "late.json"), "message 1: expected one of user or assistant"},
      {"/load", "/load: expected the name of a file"},
      {"/save " + (dir / "no/such/folder.json"), "no/such/folder.json"},
      {"/save", "/save: expected the name of a file"}};
  for (const auto& [command, message] : cases) {
    const Finished run = Chat("How do I print?\n" + command + "\nAnd save?\n");
    EXPECT_EQ(run.exit_code, 0) << command;
    EXPECT_EQ(run.out, both) << command;
    EXPECT_NE(run.err.find(message), std::string::npos) << command << run.err;
  }
}

TEST(E2eChat, UndoTakesTheLastTurnBack) {
  const std::string first = Answers("How do I print?\n");
  EXPECT_EQ(Answers("How do I print?\nAnd save?\n/undo\nAnd save?\n").substr(first.size()), [&] {
    const std::string both = Answers("How do I print?\nAnd save?\n");
    return both.substr(first.size()) + both.substr(first.size());
  }());
  EXPECT_EQ(Answers("How do I print?\n/undo\n/undo\nHow do I print?\n"), first + first);
}

TEST(E2eChat, MessagesOfSeveralLines) {
  const std::string one = Answers("Open the\\\n  menu\n");
  EXPECT_EQ(one, Decode(IdsAfter({{"user", "Open the\n  menu"}})));
  EXPECT_EQ(Answers("\"\"\"Open the\n  menu\"\"\"\n"), one);
  EXPECT_EQ(Answers("\"\"\"\nOpen the\n  menu\n\"\"\"\n"), one);
  EXPECT_EQ(Answers("\"\"\"Open the\n  menu"), one);  // the end of input ends it, too
  EXPECT_EQ(Answers("\"\"\"/help\"\"\"\n"), Decode(IdsAfter({{"user", "/help"}})));
}

TEST(E2eChat, RoutingOfTheLastAnswer) {
  EXPECT_NE(Chat("/routing\n").err.find("There is no answer yet."), std::string::npos);
  const Finished run = Chat("How do I print?\n/routing\n");
  EXPECT_NE(run.err.find("The last answer: 12 tokens, 12 steps."), std::string::npos) << run.err;
  for (int layer = 0; layer < 4; ++layer) {
    // Pairs expert:percent, of all experts; percents are rounded.
    const auto numbers = NumbersOf(run, "    " + std::to_string(layer) + " ", 0);
    ASSERT_GT(numbers.size(), 2u) << run.err;
    int64_t sum = 0;
    for (size_t i = 2; i < numbers.size(); i += 2) sum += numbers[i];
    EXPECT_NEAR(static_cast<double>(sum), 100, 4);
  }
}

TEST(E2eChat, TheOldestTurnsMakeRoom) {
  const TempDir dir;
  std::string input;
  for (int i = 0; i < 8; ++i) input += "Question " + std::to_string(i) + "\n";
  const Finished run =
      Chat(input + "/save " + (dir / "c.json") + "\n", {"--temperature", "0", "--ctx", "120"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const size_t at = run.err.rfind("is full: the ");
  ASSERT_NE(at, std::string::npos) << run.err;
  const auto n_left_out = static_cast<size_t>(std::stoul(run.err.substr(at + 13)));
  // All is kept and saved; the last answer follows from what was sent.
  const Json saved = Json::Parse(ReadFile(dir / "c.json"), "saved").At("messages");
  ASSERT_EQ(saved.Size(), 16u);
  ASSERT_LT(n_left_out, 15u);
  std::vector<std::pair<std::string, std::string>> sent;
  for (size_t i = n_left_out; i < 15; ++i)
    sent.emplace_back(saved.At(i).At("role").AsString(), saved.At(i).At("content").AsString());
  EXPECT_EQ(sent.front().first, "user");
  EXPECT_EQ(saved.At(15).At("content").AsString() + "\n", Decode(IdsAfter(sent)));

  const Finished stopped =
      Chat(input, {"--temperature", "0", "--ctx", "120", "--context-policy", "stop"});
  EXPECT_EQ(stopped.exit_code, 0);
  EXPECT_NE(stopped.err.find("the context holds 120: /reset begins a new one"), std::string::npos);
  EXPECT_EQ(stopped.err.find("not sent any more"), std::string::npos);
}

TEST(E2eChat, FullContextIsSaidAndTheChatGoesOn) {
  const std::string first = Answers("Hi\n", {"--temperature", "0", "--ctx", "40"});
  std::string input = "Hi\n";
  for (int i = 0; i < 30; ++i) input += "word ";
  const Finished run = Chat(input + "\n/reset\nHi\n", {"--temperature", "0", "--ctx", "40"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, first + first);
  EXPECT_NE(run.err.find("the context holds 40: it is left out"), std::string::npos) << run.err;
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

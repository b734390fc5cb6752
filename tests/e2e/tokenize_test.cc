// SPDX-License-Identifier: Apache-2.0
// mixtral tokenize: single texts, batches, decoding, and every place a tokenizer can lie.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/json.h"
#include "e2e/process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

std::vector<TokenId> Encode(const std::vector<std::string>& more, const std::string& input = "") {
  std::vector<std::string> arguments = {"tokenize", ShippedModel()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished run = Mixtral(arguments, input);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return ParseIds(run.out);
}

std::vector<std::vector<int64_t>> Batch(const std::string& path, const std::string& json,
                                        const std::vector<std::string>& more = {}) {
  const TempDir dir;
  WriteFile(dir / "batch.json", json);
  std::vector<std::string> arguments = {"tokenize", path, "--batch", dir / "batch.json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished run = Mixtral(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json lists = Json::Parse(run.out, "batch output");
  std::vector<std::vector<int64_t>> result;
  for (size_t i = 0; i < lists.Size(); ++i) result.push_back(lists.At(i).AsIntArray());
  return result;
}

TEST(E2eTokenize, TextFromArgumentFileAndPipe) {
  const TempDir dir;
  WriteFile(dir / "text", "-Hello\nworld");
  const auto ids = Encode({"--", "-Hello\nworld"});
  ASSERT_GT(ids.size(), 3u);
  EXPECT_EQ(Encode({"-f", dir / "text"}), ids);
  EXPECT_EQ(Encode({}, "-Hello\nworld"), ids);
  auto with_bos = Encode({"--bos", "--", "-Hello\nworld"});
  EXPECT_EQ(with_bos.front(), 1);
  with_bos.erase(with_bos.begin());
  EXPECT_EQ(with_bos, ids);
  EXPECT_EQ(Mixtral({"tokenize", ShippedModel(), ""}).out, "\n");
}

TEST(E2eTokenize, DecodeIsTheWayBack) {
  const std::string text =
      "Gr\xC3\xBC\xC3\x9F"
      "e, 12 \xE2\x82\xAC and \xF0\x9F\x99\x82";
  const std::string ids = Mixtral({"tokenize", ShippedModel(), text}).out;
  EXPECT_EQ(Mixtral({"tokenize", ShippedModel(), "--decode", ids}).out, text + "\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", ShippedModel(), "--decode", "4096"}), 1,
                           "--decode: expected token ids in 0..4095, found 4096"),
            "");
}

TEST(E2eTokenize, PiecesAndJson) {
  const Finished lines = Mixtral({"tokenize", ShippedModel(), "Hello world", "--pieces"});
  const auto ids = Encode({"Hello world"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), std::ssize(ids));
  EXPECT_NE(lines.out.find("  \xE2\x96\x81H"), std::string::npos) << lines.out;
  const Json json = Json::Parse(
      Mixtral({"tokenize", ShippedModel(), "Hello world", "--pieces", "--json"}).out, "json");
  EXPECT_EQ(json.At("count").AsInt(), std::ssize(ids));
  EXPECT_EQ(json.At("tokens").Size(), ids.size());
  EXPECT_EQ(json.At("pieces").Size(), ids.size());
}

TEST(E2eTokenize, BatchOfStringsAndConversations) {
  const auto lists = Batch(ShippedModel(), R"(["Hello world", "",
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}],
     "continue_final_message": true}])");
  ASSERT_EQ(lists.size(), 5u);
  const auto wide = [](const std::vector<TokenId>& ids) {
    return std::vector<int64_t>(ids.begin(), ids.end());
  };
  EXPECT_EQ(lists[0], wide(Encode({"Hello world"})));
  EXPECT_TRUE(lists[1].empty());
  std::vector<int64_t> user = {1};
  for (const TokenId id : Encode({"[INST] Hi [/INST]"})) user.push_back(id);
  EXPECT_EQ(lists[2], user);
  std::vector<int64_t> open = user;
  for (const TokenId id : Encode({"Yes"})) open.push_back(id);
  EXPECT_EQ(lists[4], open);
  open.push_back(2);
  EXPECT_EQ(lists[3], open);
  EXPECT_NE(Batch(ShippedModel(), R"([{"messages": [{"role": "user", "content": "Hi"}]}])",
                  {"--chat-format", "chatml"})[0],
            user);
}

TEST(E2eTokenize, BadBatchesNameTheItem) {
  const TempDir dir;
  const std::string path = dir / "batch.json";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[", path},
      {"{}", "expected a list"},
      {"[\"a\", 3]", "$[1]"},
      {"[[1]]", "$[0]"},
      {R"([{"text": "a"}])", "'text'"},
      {R"([{"messages": []}])", "$[0]"},
      {R"(["a", {"messages": [{"role": "robot", "content": "a"}]}])", "'robot'"},
      {R"([{"messages": [{"role": "user"}]}])", "$[0].messages[0].content"},
      {R"([{"messages": [{"role": "user", "content": 5}]}])", "$[0].messages[0].content"},
      {R"([{"messages": [{"role": "user", "content": "a"}], "continue_final_message": 1}])",
       "$[0].continue_final_message"},
      {R"([{"messages": [{"role": "user", "content": "a"}], "continue_final_message": true}])",
       "$[0]"}};
  for (const auto& [json, message] : cases) {
    WriteFile(path, json);
    const Finished run = Mixtral({"tokenize", ShippedModel(), "--batch", path});
    EXPECT_EQ(RefusalProblem(run, 2, message), "") << json;
    EXPECT_EQ(RefusalProblem(run, 2, path), "") << json;
  }
}

TEST(E2eTokenize, InvalidUtf8IsNoCrash) {
  const Finished run = Mixtral({"tokenize", ShippedModel()}, "a\xFF\xC3(\xE2\x82");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_FALSE(ParseIds(run.out).empty());
}

TEST(E2eTokenize, ChatExplainsEveryToken) {
  const std::string messages =
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
          {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "And?"}])";
  const Finished json = Mixtral({"tokenize", ShippedModel(), "--chat", "-", "--json"}, messages);
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json explained = Json::Parse(json.out, "json");
  EXPECT_EQ(explained.At("chat_format").AsString(), "mistral-v1");
  const Json tokens = explained.At("tokens");
  std::vector<int64_t> ids;
  std::string rules;
  for (size_t i = 0; i < tokens.Size(); ++i) {
    ids.push_back(tokens.At(i).At("id").AsInt());
    const std::string rule = tokens.At(i).At("rule").AsString();
    if (!rules.ends_with(rule + "|")) rules += rule + "|";
  }
  EXPECT_EQ(ids, Batch(ShippedModel(), "[{\"messages\": " + messages + "}]")[0]);
  EXPECT_EQ(explained.At("count").AsInt(), std::ssize(ids));
  for (const char* rule :
       {"BOS|", "user turn 1: system prompt|", "user turn 1 content|",
        "|assistant turn 1 content|EOS after assistant turn 1|", "|user turn 2 content|"})
    EXPECT_NE(rules.find(rule), std::string::npos) << rule << " in " << rules;

  const Finished lines = Mixtral({"tokenize", ShippedModel(), "--user", "Hi", "--system", "a"});
  EXPECT_TRUE(lines.out.starts_with("mistral-v1 (the vocabulary has no control piece [INST]): "))
      << lines.out;
  EXPECT_NE(lines.out.find("      1  <s>             BOS\n"), std::string::npos) << lines.out;
  const Finished same =
      Mixtral({"tokenize", ShippedModel(), "--chat", "-"},
              R"([{"role": "system", "content": "a"}, {"role": "user", "content": "Hi"}])");
  EXPECT_EQ(lines.out, same.out);
}

TEST(E2eTokenize, BadChatsAreRefused) {
  const auto problem = [](const std::string& json, const std::string& text) {
    return RefusalProblem(Mixtral({"tokenize", ShippedModel(), "--chat", "-"}, json), 2, text);
  };
  EXPECT_EQ(problem("Hi", "in -"), "");
  EXPECT_EQ(problem("[]", "expected at least one"), "");
  EXPECT_EQ(problem(R"([{"role": "user", "content": "a", "colour": 1}])", "'colour'"), "");
  EXPECT_EQ(problem(R"([{"role": "user", "content": null}])", "$[0].content"), "");
  EXPECT_EQ(problem(R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "x"}]})",
                    "$.tools[0].type: expected 'function', found 'x'"),
            "");
  const std::string tools =
      R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function",
          "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]})";
  EXPECT_EQ(problem(tools, "mistral-v1"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", ShippedModel(), "--system", "a"}), 1, "--user"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", ShippedModel(), "--user", "a", "b"}), 1,
                           "expected one of TEXT"),
            "");
}

/// A folder with the tokenizer of the fixtures and a template of its own.
class TemplateFolder {
 public:
  explicit TemplateFolder(const std::string& jinja) {
    std::filesystem::create_symlink(
        std::filesystem::absolute(FixturesFolder() + "/tokenizer/tokenizer.model"),
        dir_ / "tokenizer.model");
    WriteFile(dir_ / "tokenizer_config.json", Json::Object().Set("chat_template", jinja).Dump());
  }
  Finished Explain(const std::string& json, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"tokenize", dir_.path(), "--chat", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mixtral(arguments, json);
  }

 private:
  TempDir dir_;
};

TEST(E2eTokenize, TheTemplateChoosesTheFormat) {
  if (FixturesFolder().empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string hi = R"([{"role": "user", "content": "Hi"}])";
  const TemplateFolder chatml(
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
  EXPECT_TRUE(chatml.Explain(hi).out.starts_with(
      "chatml (the model's own chat template writes the same ids): "))
      << chatml.Explain(hi).out << chatml.Explain(hi).err;
  EXPECT_TRUE(chatml.Explain(hi, {"--chat-format", "llama-2"}).out.starts_with("llama-2 (--chat-"));
  // Tools in a template's own words, arguments as an object or as text.
  const TemplateFolder own(
      "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.role ~ ':' }}"
      "{% if m.tool_calls is defined %}{{ m.tool_calls[0].function.arguments.x }}{% endif %}"
      "{{ m.content }}{% endfor %}");
  const std::string before =
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null,
          "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "f",
          "arguments": )";
  const std::string after =
      R"(}}]}, {"role": "tool", "content": "5", "tool_call_id": "abcdefghi", "name": "f"}],
          "tools": [{"type": "function", "function": {"name": "f"}}]})";
  const Finished by_object = own.Explain(before + R"({"x": "seven"})" + after);
  EXPECT_TRUE(by_object.out.starts_with("template (the model's own chat template, which "))
      << by_object.err;
  EXPECT_EQ(own.Explain(before + R"("{\"x\": \"seven\"}")" + after).out, by_object.out);
  EXPECT_NE(own.Explain(before + R"({"x": "eight"})" + after).out, by_object.out);
  // One that cannot be run is refused with the formats that can be named; none always works.
  const TemplateFolder unknown("{{ messages | frobnicate }}");
  const Finished refused = unknown.Explain(hi);
  EXPECT_EQ(RefusalProblem(refused, 2, "frobnicate"), "");
  EXPECT_EQ(RefusalProblem(refused, 2, "none, mistral-v1, mistral-v2, mistral-v3, llama-2, chatml"),
            "");
  EXPECT_EQ(unknown.Explain(hi, {"--chat-format", "none"}).exit_code, 0);
}

/// tokenizer.model, the folder it lies in, and a model's folder give the same ids.
TEST(E2eTokenize, EveryPlaceOfATokenizer) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  for (const char* place : {"/tokenizer/tokenizer.model", "/tokenizer", "/text-mixtral/hf-bf16",
                            "/text-mixtral/gguf/text-mixtral-q8_0.gguf"}) {
    const Finished run = Mixtral({"tokenize", fixtures + place, "hello"});
    EXPECT_EQ(run.out, "6312,28709\n") << place << run.err;
  }
  const std::string none = fixtures + "/tiny-mixtral/hf-f32";
  EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", none, "a"}), 2, none), "");
}

TEST(E2eTokenize, GoldenConversations) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const Json cases =
      Json::Parse(ReadFile(fixtures + "/tokenizer/chat_goldens.json"), "goldens").At("cases");
  Json batch = Json::Array();
  for (size_t i = 0; i < cases.Size(); ++i) {
    const Json entry = cases.At(i);
    Json messages = Json::Array();
    if (const auto system = entry.Find("system"); system && !system->AsString().empty())
      messages.Push(Json::Object().Set("role", "system").Set("content", *system));
    for (size_t m = 0; m < entry.At("messages").Size(); ++m)
      messages.Push(entry.At("messages").At(m));
    batch.Push(Json::Object()
                   .Set("messages", std::move(messages))
                   .Set("continue_final_message", entry.At("continue_final_message")));
  }
  const auto lists = Batch(fixtures + "/tokenizer/tokenizer.model", batch.Dump());
  ASSERT_EQ(lists.size(), cases.Size());
  for (size_t i = 0; i < lists.size(); ++i)
    EXPECT_EQ(lists[i], cases.At(i).At("ids").AsIntArray()) << i;
}

TEST(E2eTokenize, TheModelsOwnTemplate) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string fixture = fixtures + "/text-mixtral/hf-bf16";
  const TempDir dir;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.model"})
    std::filesystem::create_symlink(std::filesystem::absolute(fixture + "/" + name), dir / name);
  const std::string conversation =
      R"([{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "yes"},
          {"role": "user", "content": "12 [/INST]"}]}])";
  const std::vector<std::string> own = {"--chat-format", "template"};
  WriteFile(dir / "batch.json", conversation);
  EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", dir.path(), "--batch", dir / "batch.json",
                                    "--chat-format", "template"}),
                           2, "expected a chat template in the model, found none"),
            "");
  const std::string jinja =
      "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
      "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}"
      "{% endif %}{% endfor %}";
  WriteFile(dir / "tokenizer_config.json", Json::Object()
                                               .Set("chat_template", jinja)
                                               .Set("bos_token", "<s>")
                                               .Set("eos_token", "</s>")
                                               .Dump());
  EXPECT_EQ(Batch(dir.path(), conversation, own),
            Batch(dir.path(), conversation, {"--chat-format", "mistral-v1"}));
}

}  // namespace
}  // namespace mixtral::testing

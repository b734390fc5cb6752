// SPDX-License-Identifier: Apache-2.0
// Shard folders, good and bad; windows of the sampler; a position that is saved and restored.
#include "train/token_shards.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "train/sampler.h"
#include "train/test_shards.h"

namespace mixtral::train {
namespace {

std::string Refusal(const std::string& folder) {
  try {
    const TokenShards shards({folder});
    shards.Set("en", "train").Read(0);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

void Replace(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = ReadTextFile(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  WriteRaw(path, text.data(), text.size());
}

TEST(TokenShards, ReadsDocumentsAcrossShards) {
  const TestFolder folder("shards");
  WriteTextShards(folder / "data");
  const TokenShards shards({folder / "data"});
  EXPECT_EQ(shards.Domains("train"), (std::vector<std::string>{"de", "en"}));
  const DocumentSet& set = shards.Set("en", "train");
  EXPECT_EQ(set.n_documents(), 40);
  EXPECT_EQ(set.Read(3).tokens, MakeDocuments(20, 20, 1, false)[3].tokens);
  EXPECT_EQ(set.Read(25).tokens, MakeDocuments(20, 11, 2, false)[5].tokens);
}

TEST(TokenShards, EveryDamageIsOneClearRefusal) {
  const TestFolder folder("damage");
  const auto damaged = [&](const std::string& name, const auto& damage) {
    const std::string data = folder / name;
    WriteTextShards(data);
    damage(data);
    return Refusal(data);
  };
  const auto edit = [&](const std::string& from, const std::string& to) {
    return damaged("json",
                   [&](const std::string& data) { Replace(data + "/shards.json", from, to); });
  };
  EXPECT_NE(edit("mixtral-token-shards", "other").find("$.format"), std::string::npos);
  EXPECT_NE(edit("\"version\": 1", "\"version\": 9").find("$.version: expected 1, found 9"),
            std::string::npos);
  EXPECT_NE(edit("\"u16\"", "\"u64\"").find("expected u16 or u32"), std::string::npos);
  EXPECT_NE(edit("en-train-0", "../x").find("plain name"), std::string::npos);
  EXPECT_NE(edit("\"n_documents\": 20", "\"n_documents\": 19").find("file size"),
            std::string::npos);
  EXPECT_NE(damaged("cut",
                    [](const std::string& data) {
                      std::filesystem::resize_file(data + "/en-train-0.bin", 10);
                    })
                .find("file size: expected"),
            std::string::npos);
  EXPECT_NE(damaged("offsets",
                    [](const std::string& data) {
                      std::string text = ReadTextFile(data + "/en-train-0.idx");
                      text[15] = '\x7F';  // the second offset becomes huge
                      WriteRaw(data + "/en-train-0.idx", text.data(), text.size());
                    })
                .find("document offset 1"),
            std::string::npos);
  EXPECT_NE(damaged("token",
                    [](const std::string& data) {
                      std::string text = ReadTextFile(data + "/en-train-0.bin");
                      text[3] = '\x10';
                      WriteRaw(data + "/en-train-0.bin", text.data(), text.size());
                    })
                .find("expected an id below 64"),
            std::string::npos);
  EXPECT_NE(Refusal(folder / "nowhere").find("shards.json"), std::string::npos);
}

TEST(TokenShards, HashesAreChecked) {
  const TestFolder folder("hashes");
  const std::string data = folder / "data";
  WriteTextShards(data);
  const TokenShards whole({data}, ShardCheck::kHashes);
  std::string bytes = ReadTextFile(data + "/de-train-0.bin");
  bytes[20] = static_cast<char>(bytes[20] ^ 1);  // another token of the vocabulary
  WriteRaw(data + "/de-train-0.bin", bytes.data(), bytes.size());
  const TokenShards unchecked({data});
  try {
    const TokenShards checked({data}, ShardCheck::kHashes);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(message.find("sha256: expected "), std::string::npos) << message;
    EXPECT_NE(message.find("de-train-0.bin"), std::string::npos) << message;
  }
}

TEST(Sampler, EveryPredictionOnceAnEpoch) {
  const TestFolder folder("epoch");
  WriteShards(folder / "data", "text", 64,
              {{"a", "en", "train", "", MakeDocuments(9, 20, 5, false)}});
  const TokenShards shards({folder / "data"});
  Sampler sampler(shards, "train", {16, false, {}, 3});
  std::map<std::pair<int32_t, int32_t>, int> wanted, found;
  int64_t n_wanted = 0, n_found = 0;
  for (const Document& document : MakeDocuments(9, 20, 5, false)) {
    for (size_t t = 1; t < document.tokens.size(); ++t, ++n_wanted)
      ++wanted[{document.tokens[t - 1], document.tokens[t]}];
  }
  while (n_found < n_wanted) {
    const Window window = sampler.Next();
    size_t n_tokens = 0;
    for (const Document& piece : window) {
      n_tokens += piece.tokens.size();
      for (size_t t = 1; t < piece.tokens.size() && n_found < n_wanted; ++t, ++n_found)
        ++found[{piece.tokens[t - 1], piece.tokens[t]}];
    }
    EXPECT_LE(n_tokens, 16U);
  }
  EXPECT_EQ(found, wanted);
}

TEST(Sampler, GoesOnFromASavedPosition) {
  const TestFolder folder("position");
  WriteTextShards(folder / "data");
  const TokenShards shards({folder / "data"});
  const SamplerOptions options = {24, false, {{"en", 1}, {"de", 3}}, 9};
  Sampler first(shards, "train", options), second(shards, "train", options);
  for (int i = 0; i < 77; ++i) first.Next();
  second.Restore(Json::Parse(first.State().Dump(), "state"));
  for (int i = 0; i < 50; ++i) {
    const Window a = first.Next(), b = second.Next();
    ASSERT_EQ(a.size(), b.size());
    for (size_t d = 0; d < a.size(); ++d) EXPECT_EQ(a[d].tokens, b[d].tokens);
  }
}

TEST(Sampler, WeightsSayHowOftenADomainComes) {
  const TestFolder folder("weights");
  WriteShards(
      folder / "data", "text", 64,
      {{"a", "a", "train", "", {{{1, 10, 11}, {}}}}, {"b", "b", "train", "", {{{1, 20, 21}, {}}}}});
  const TokenShards shards({folder / "data"});
  Sampler sampler(shards, "train", {3, false, {{"a", 1}, {"b", 4}}, 1});
  int n_b = 0;
  for (int i = 0; i < 1000; ++i) n_b += sampler.Next()[0].tokens[1] == 20 ? 1 : 0;
  EXPECT_NEAR(n_b, 800, 50);
  EXPECT_THROW(Sampler(shards, "train", {3, false, {{"c", 1}}, 1}), Error);
}

TEST(Sampler, PairsStayTogetherAndChatsWhole) {
  const TestFolder folder("pairs");
  const std::vector<Document> chosen = MakeDocuments(5, 12, 6, true),
                              rejected = MakeDocuments(5, 9, 7, true);
  WriteShards(folder / "pairs", "preference", 64,
              {{"p-chosen", "en", "train", "chosen", chosen},
               {"p-rejected", "en", "train", "rejected", rejected}});
  const TokenShards pairs({folder / "pairs"});
  Sampler sampler(pairs, "train", {64, false, {}, 1});
  for (int n = 0; n < 10; ++n) {
    const Window pair = sampler.Next();
    ASSERT_EQ(pair.size(), 2U);
    size_t i = 0;
    while (i < chosen.size() && chosen[i].tokens != pair[0].tokens) ++i;
    ASSERT_LT(i, chosen.size());
    EXPECT_EQ(pair[1].tokens, rejected[i].tokens);
    EXPECT_EQ(pair[1].loss, rejected[i].loss);
  }
  WriteShards(folder / "chats", "sft", 64, {{"s", "en", "train", "", chosen}});
  const TokenShards chats({folder / "chats"});
  Sampler whole(chats, "train", {30, false, {}, 1});
  for (int n = 0; n < 10; ++n) {
    for (const Document& chat : whole.Next()) EXPECT_GE(chat.tokens.size(), 12U);
  }
}

}  // namespace
}  // namespace mixtral::train

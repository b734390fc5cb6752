// SPDX-License-Identifier: Apache-2.0
// Shards are read as they were written, byte for byte as docs/training-data.md says, and every
// damage is found.
#include "data/shard_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/shard_writer.h"
#include "data/test_files.h"

namespace mixtral::data {
namespace {

using test::Folder;
using test::MessageOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ShardSet EmptySet(ShardKind kind, int32_t vocab_size = 1000) {
  ShardSet set;
  set.kind = kind;
  set.vocab_size = vocab_size;
  set.bos_id = 1;
  set.eos_id = 2;
  set.tokenizer_file = "tokenizer.model";
  set.tokenizer_sha256 = "00";
  if (kind != ShardKind::kText) set.chat_format = "mistral-v1";
  return set;
}

ShardSet WriteSet(const Folder& folder, ShardSet set, uint64_t max_tokens,
                  const std::vector<std::vector<Document>>& rows, Split split = Split::kTrain) {
  std::filesystem::create_directories(folder.path() + "/work");
  ShardWriter writer(std::move(set), folder.path() + "/work", folder.path(), max_tokens);
  for (const auto& row : rows) writer.Add("en", split, row);
  set = writer.Finish({"en"});
  folder.Write("shards.json", set.ToJson().Dump(1));
  return set;
}

TEST(Shards, BytesAreThoseOfTheFormat) {
  const Folder folder;
  WriteSet(folder, EmptySet(ShardKind::kText), 100, {{{{1, 258, 2}, {}}}, {{{1, 2}, {}}}});
  EXPECT_EQ(test::ReadAll(folder.path() + "/en-train-00000.bin"),
            std::string("\1\0\2\1\2\0\1\0\2\0", 10));
  EXPECT_EQ(test::ReadAll(folder.path() + "/en-train-00000.idx"),
            std::string("\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0", 24));
  const ShardSet set = ReadShardSet(folder.path());
  ASSERT_EQ(set.shards.size(), 1u);
  const MappedShard shard(folder.path(), set, set.shards[0]);
  shard.Verify();
  EXPECT_EQ(shard.n_documents(), 2u);
  EXPECT_THAT(shard.Tokens(0), ElementsAre(1, 258, 2));
  EXPECT_THAT(shard.Tokens(1), ElementsAre(1, 2));
  EXPECT_TRUE(shard.Mask(0).empty());
}

TEST(Shards, LargeVocabulariesHaveWideIds) {
  const Folder folder;
  WriteSet(folder, EmptySet(ShardKind::kText, 65537), 100, {{{{1, 65536}, {}}}});
  EXPECT_EQ(test::ReadAll(folder.path() + "/en-train-00000.bin"),
            std::string("\1\0\0\0\0\0\1\0", 8));
  const ShardSet set = ReadShardSet(folder.path());
  EXPECT_THAT(MappedShard(folder.path(), set, set.shards[0]).Tokens(0), ElementsAre(1, 65536));
  EXPECT_EQ(EmptySet(ShardKind::kText, 65536).TokenBytes(), 2u);
}

TEST(Shards, AFullShardBeginsAnother) {
  const Folder folder;
  const Document document = {{1, 7, 2}, {0, 1, 1}};
  const ShardSet set = WriteSet(folder, EmptySet(ShardKind::kSft), 6,
                                {{document}, {document}, {document}}, Split::kHeldout);
  ASSERT_EQ(set.shards.size(), 2u);
  EXPECT_EQ(set.shards[0].name, "en-heldout-00000");
  EXPECT_EQ(set.shards[0].n_documents, 2u);
  EXPECT_EQ(set.shards[1].name, "en-heldout-00001");
  EXPECT_EQ(set.shards[1].n_loss_tokens, 2u);
  const MappedShard shard(folder.path(), set, set.shards[1]);
  shard.Verify();
  EXPECT_THAT(shard.Mask(0), ElementsAre(0, 1, 1));
}

TEST(Shards, PartnersHaveTheSameNumber) {
  const Folder folder;
  const ShardSet set =
      WriteSet(folder, EmptySet(ShardKind::kPreference), 4,
               {{{{1, 5, 2}, {0, 1, 1}}, {{1, 6}, {0, 1}}}, {{{1, 7}, {0, 1}}, {{1, 8}, {0, 1}}}});
  ASSERT_EQ(set.shards.size(), 2u);
  EXPECT_EQ(set.shards[0].name, "en-train-00000-chosen");
  EXPECT_EQ(set.shards[1].name, "en-train-00000-rejected");
  const ShardSet read = ReadShardSet(folder.path());
  EXPECT_EQ(read.shards[1].part, Part::kRejected);
  EXPECT_THAT(MappedShard(folder.path(), read, read.shards[1]).Tokens(1), ElementsAre(1, 8));
}

TEST(Shards, DamageIsFound) {
  const Folder folder;
  const ShardSet set = WriteSet(folder, EmptySet(ShardKind::kSft), 100,
                                {{{{1, 5, 2}, {0, 1, 1}}}, {{{1, 2}, {0, 1}}}});
  const std::string stem = folder.path() + "/en-train-00000";
  const auto damage = [&](const std::string& ending, const std::string& content) {
    const std::string path = "en-train-00000" + ending;
    const std::string good = test::ReadAll(stem + ending);
    folder.Write(path, content);
    const std::string message =
        MessageOf([&] { MappedShard(folder.path(), set, set.shards[0]).Verify(); });
    folder.Write(path, good);
    return message;
  };
  const std::string bin = test::ReadAll(stem + ".bin"), idx = test::ReadAll(stem + ".idx");
  EXPECT_THAT(damage(".bin", bin.substr(1)), HasSubstr("expected 10 bytes, found 9"));
  EXPECT_THAT(damage(".bin", "\7" + bin.substr(1)), HasSubstr("sha256"));
  EXPECT_THAT(damage(".mask", std::string(5, '\1')), HasSubstr("sha256"));
  EXPECT_THAT(damage(".mask", std::string(6, '\1')), HasSubstr("expected 5 bytes, found 6"));
  std::string swapped = idx;
  swapped[8] = '\5';
  EXPECT_THAT(damage(".idx", swapped), HasSubstr("expected ascending numbers, found 5 after 5"));
  EXPECT_THAT(damage(".idx", "\1" + idx.substr(1)), HasSubstr("expected 0 at the beginning"));
  EXPECT_THAT(damage(".idx", idx.substr(8)), HasSubstr("expected 24 bytes"));
  ShardSet small = set;
  small.vocab_size = 5;
  EXPECT_THAT(MessageOf([&] { MappedShard(folder.path(), small, small.shards[0]).Tokens(0); }),
              HasSubstr("token 1: expected an id below 5, found 5"));
}

TEST(Shards, BadShardsJsonSaysWhere) {
  const std::string good = EmptySet(ShardKind::kText).ToJson().Dump();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return MessageOf([&] { ShardSet::FromJson(text, "shards.json"); });
  };
  EXPECT_EQ(ShardSet::FromJson(good, "shards.json").bos_id, 1);
  EXPECT_THAT(with("\"version\":1", "\"version\":2"), HasSubstr("version 1, found"));
  EXPECT_THAT(with("\"text\"", "\"video\""), HasSubstr("$.kind: unknown value 'video'"));
  EXPECT_THAT(with("u16", "u32"), HasSubstr("$.token_dtype"));
  EXPECT_THAT(with("\"bos_id\":1", "\"bos_id\":1000"), HasSubstr("$.bos_id"));
  EXPECT_THAT(with("tokenizer.model", "../tokenizer.model"), HasSubstr("$.tokenizer.file"));
  EXPECT_THAT(with("\"shards\":[]", "\"shards\":[{\"name\":\"a/b\"}]"),
              HasSubstr("$.shards[0].name"));
  const Folder folder;
  EXPECT_THAT(MessageOf([&] { ReadShardSet(folder.path()); }), HasSubstr("a folder without it"));
  EXPECT_THAT(MessageOf([&] { ReadShardSet(folder.path() + "/no"); }), HasSubstr("no folder"));
}

}  // namespace
}  // namespace mixtral::data

// SPDX-License-Identifier: Apache-2.0
// The pipeline: the same bytes whatever the number of workers and interruptions, and what it drops.
#include "data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/strings.h"
#include "data/batch_file.h"
#include "data/row_encoders.h"
#include "data/test_files.h"
#include "text/test_vocabulary.h"

namespace mixtral::data {
namespace {

using test::Contents;
using test::Folder;
using test::MessageOf;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Tokenizer& SmallTokenizer() {
  static const Tokenizer tokenizer = mixtral::test::SmallTokenizer();
  return tokenizer;
}

PrepareOptions Options(const std::vector<std::string>& data, const std::string& folder) {
  PrepareOptions options;
  options.inputs = ListInputs(data);
  options.set.vocab_size = SmallTokenizer().vocab_size();
  options.set.bos_id = 1;
  options.set.eos_id = 2;
  options.set.tokenizer_file = "tokenizer.model";
  options.tokenizer_bytes = "the tokenizer";
  options.encode = MakeTextEncoder(&SmallTokenizer(), "text");
  options.encoder_name = "text";
  options.folder = folder;
  options.batch_bytes = 1500;  // few files, since each is flushed to disk
  return options;
}

std::string RandomWords(uint64_t seed, uint64_t n) {
  const CounterRng rng(seed);
  std::string text;
  for (uint64_t i = 0; i < n; ++i) text += fmt::format("w{} ", rng.Bits(i) % 5000);
  return text;
}

/// Two domains, with wrong, empty, equal and near-equal rows among them.
void WriteInputs(const Folder& folder) {
  std::string en, fr;
  for (uint64_t i = 0; i < 60; ++i) {
    en += fmt::format("{{\"text\": \"{}\"}}\n", RandomWords(i, 20 + i % 7));
    if (i % 20 == 3) en += "{\"text\": 5}\n";
    if (i % 20 == 4) en += "{\"text\": \" \"}\n";
    if (i % 20 == 5)
      en += fmt::format("{{\"text\": \"{}\"}}\n", RandomWords(i - 1, 20 + (i - 1) % 7));
    if (i % 20 == 6)
      en += fmt::format("{{\"text\": \"{} end\"}}\n", RandomWords(i - 1, 20 + (i - 1) % 7));
    fr += fmt::format("{{\"text\": \"{}\"}}\n", RandomWords(1000 + i, 30));
  }
  folder.Write("in/en.jsonl", en);
  folder.Write("in/fr.jsonl.gz", test::Gzip(fr));
  folder.Write("in/note.txt", RandomWords(5000, 50));
}

std::vector<std::string> Data(const Folder& folder) {
  return {"en=" + folder.path() + "/in/en.jsonl", "fr=" + folder.path() + "/in/fr.jsonl.gz",
          "en=" + folder.path() + "/in/note.txt"};
}

uint64_t CountOf(const std::string& folder, const char* domain, const char* key) {
  return static_cast<uint64_t>(ReadPrepareReport(folder).At("domains").At(domain).At(key).AsInt());
}

/// Texts of a domain's documents in order.
std::vector<std::string> Texts(const std::string& folder, const std::string& domain, Split split) {
  const ShardSet set = ReadShardSet(folder);
  std::vector<std::string> texts;
  for (const ShardInfo& info : set.shards) {
    if (info.domain != domain || info.split != split) continue;
    const MappedShard shard(folder, set, info);
    shard.Verify();
    for (uint64_t i = 0; i < shard.n_documents(); ++i) {
      const std::vector<TokenId> tokens = shard.Tokens(i);
      EXPECT_EQ(tokens.front(), 1);
      EXPECT_EQ(tokens.back(), 2);
      texts.push_back(SmallTokenizer().Decode(tokens));
    }
  }
  return texts;
}

TEST(Prepare, CountsWhatItKeepsAndDrops) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/out");
  options.heldout = 0;
  std::vector<std::string> bad;
  options.on_bad_row = [&](std::string_view line) { bad.emplace_back(line); };
  EXPECT_EQ(Prepare(options), PrepareOutcome::kDone);
  EXPECT_EQ(CountOf(options.folder, "en", "rows"), 73u);
  EXPECT_EQ(CountOf(options.folder, "en", "wrong"), 3u);
  EXPECT_EQ(CountOf(options.folder, "en", "empty"), 3u);
  EXPECT_EQ(CountOf(options.folder, "en", "equal"), 3u);
  EXPECT_EQ(CountOf(options.folder, "en", "near_duplicates"), 3u);
  EXPECT_EQ(CountOf(options.folder, "en", "train_documents"), 61u);
  EXPECT_EQ(CountOf(options.folder, "fr", "train_documents"), 60u);
  ASSERT_EQ(bad.size(), 3u);
  EXPECT_THAT(bad[0], AllOf(HasSubstr("/in/en.jsonl:5: "), HasSubstr("$.text: expected a string")));
  EXPECT_THAT(bad[1], HasSubstr("/in/en.jsonl:29: "));
  const auto en = Texts(options.folder, "en", Split::kTrain);
  ASSERT_EQ(en.size(), 61u);
  EXPECT_EQ(en[0], RandomWords(0, 20));
  EXPECT_EQ(en[60], RandomWords(5000, 50));
  EXPECT_EQ(test::ReadAll(options.folder + "/tokenizer.model"), "the tokenizer");
  EXPECT_FALSE(std::filesystem::exists(options.folder + "/work"));
}

TEST(Prepare, TheSameBytesForAnyNumberOfWorkers) {
  const Folder folder;
  WriteInputs(folder);
  std::map<std::string, std::string> first;
  for (const int n_workers : {1, 2, 7}) {
    PrepareOptions options =
        Options(Data(folder), fmt::format("{}/out{}", folder.path(), n_workers));
    options.n_workers = n_workers;
    options.heldout = 0.2;
    options.max_shard_tokens = 4000;
    Prepare(options);
    const auto contents = Contents(options.folder);
    EXPECT_GT(contents.size(), 12u);
    if (first.empty()) first = contents;
    EXPECT_EQ(contents, first) << n_workers;
  }
}

/// Interrupted at every place where progress is reported, by an exception as by cancelling, and
/// with what a killed process leaves behind: the next run gives the same bytes.
TEST(Prepare, GoesOnAfterAnyInterruption) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/whole");
  int n_reports = 0;
  options.on_progress = [&](uint64_t, uint64_t) { ++n_reports; };
  Prepare(options);
  ASSERT_GT(n_reports, 12);
  const auto whole = Contents(options.folder);
  for (int stop = 1; stop <= n_reports; stop += 3) {
    options.folder = fmt::format("{}/cut{}", folder.path(), stop);
    int n = 0;
    std::atomic<bool> cancelled = false;
    options.on_progress = [&](uint64_t, uint64_t) {
      if (++n < stop) return;
      if (stop % 2 == 0) Throw(ErrorCode::kIo, "pulled the plug");
      cancelled = true;
    };
    options.cancelled = &cancelled;
    if (stop % 2 == 0)
      EXPECT_EQ(MessageOf([&] { Prepare(options); }), "pulled the plug");
    else
      EXPECT_EQ(Prepare(options), PrepareOutcome::kCancelled);
    EXPECT_THAT(MessageOf([&] { ReadShardSet(options.folder); }), HasSubstr("unfinished"));
    folder.Write(fmt::format("cut{}/work/batch-00000001.123.0.tmp", stop), "half a fi");
    folder.Write(fmt::format("cut{}/work/en-train-00000.bin", stop), "half a shard");
    cancelled = false;
    options.on_progress = nullptr;
    options.n_workers = 2;
    EXPECT_EQ(Prepare(options), PrepareOutcome::kDone);
    EXPECT_EQ(Contents(options.folder), whole) << stop;
    options.n_workers = 1;
  }
}

TEST(Prepare, WhatWasTokenisedIsNotTokenisedAgain) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/whole");
  std::atomic<int> n_encoded = 0;
  options.encode = [&, encode = options.encode](const RawRow& row, FileKind kind) {
    ++n_encoded;
    return encode(row, kind);
  };
  EXPECT_EQ(Prepare(options), PrepareOutcome::kDone);
  const int n_rows = n_encoded.exchange(0);

  options.folder = folder.path() + "/out";
  std::atomic<bool> cancelled = false;
  options.cancelled = &cancelled;
  options.on_progress = [&](uint64_t done, uint64_t total) { cancelled = done == total; };
  EXPECT_EQ(Prepare(options), PrepareOutcome::kCancelled);
  EXPECT_GT(n_encoded, 0);
  options.cancelled = nullptr;
  options.on_progress = nullptr;
  EXPECT_EQ(Prepare(options), PrepareOutcome::kDone);
  EXPECT_EQ(n_encoded, n_rows);
}

TEST(Prepare, AFinishedFolderIsLeftAlone) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/out");
  Prepare(options);
  const auto contents = Contents(options.folder);
  EXPECT_EQ(Prepare(options), PrepareOutcome::kWasDone);
  options.heldout = 0.5;
  EXPECT_THAT(MessageOf([&] { Prepare(options); }), HasSubstr("holds shards of other inputs"));
  EXPECT_EQ(Contents(options.folder), contents);
  options.restart = Restart::kYes;
  EXPECT_EQ(Prepare(options), PrepareOutcome::kDone);
  EXPECT_NE(Contents(options.folder), contents);
}

TEST(Prepare, OtherPlansAndForeignFoldersAreRefused) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/out");
  std::atomic<bool> cancelled = true;
  options.cancelled = &cancelled;
  EXPECT_EQ(Prepare(options), PrepareOutcome::kCancelled);
  folder.Write("in/note.txt", "another");
  PrepareOptions other = Options(Data(folder), options.folder);
  EXPECT_THAT(MessageOf([&] { Prepare(other); }), HasSubstr("begun with other inputs"));
  for (const Restart restart : {Restart::kNo, Restart::kYes}) {
    other.restart = restart;
    folder.Write("foreign/weights.bin", "x");
    other.folder = folder.path() + "/foreign";
    EXPECT_THAT(MessageOf([&] { Prepare(other); }), HasSubstr("expected an empty folder"));
    other.folder = folder.path() + "/in";
    EXPECT_THAT(MessageOf([&] { Prepare(other); }), HasSubstr("expected a new folder"));
  }
  EXPECT_EQ(test::ReadAll(folder.path() + "/foreign/weights.bin"), "x");
}

TEST(Prepare, HeldOutIsAFunctionOfTheText) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/a");
  options.heldout = 0.25;
  Prepare(options);
  const auto held = Texts(options.folder, "fr", Split::kHeldout);
  EXPECT_GT(held.size(), 6u);
  EXPECT_LT(held.size(), 26u);
  options = Options({"fr=" + folder.path() + "/in/fr.jsonl.gz"}, folder.path() + "/b");
  options.heldout = 0.25;
  options.batch_bytes = 3000;
  Prepare(options);
  EXPECT_EQ(Texts(options.folder, "fr", Split::kHeldout), held);
}

TEST(Prepare, StrictStopsAtAWrongRow) {
  const Folder folder;
  WriteInputs(folder);
  PrepareOptions options = Options(Data(folder), folder.path() + "/out");
  options.strict = Strict::kYes;
  EXPECT_THAT(MessageOf([&] { Prepare(options); }), HasSubstr("/in/en.jsonl:"));
  options.strict = Strict::kNo;
  std::atomic<bool> cancelled = false;
  options.cancelled = &cancelled;
  options.on_progress = [&](uint64_t done, uint64_t total) { cancelled = done == total; };
  EXPECT_EQ(Prepare(options), PrepareOutcome::kCancelled);
  options.strict = Strict::kYes;  // the wrong rows are in batches that are done
  cancelled = false;
  options.on_progress = nullptr;
  EXPECT_THAT(MessageOf([&] { Prepare(options); }), HasSubstr("/in/en.jsonl:5: "));
}

TEST(Prepare, ExcludedTextsAreDropped) {
  const Folder folder;
  WriteInputs(folder);
  OverlapFilter exclude;
  exclude.AddText(RandomWords(7, 20));
  exclude.Finish();
  PrepareOptions options = Options(Data(folder), folder.path() + "/out");
  options.exclude = &exclude;
  Prepare(options);
  EXPECT_EQ(CountOf(options.folder, "en", "excluded"), 1u);
}

TEST(Prepare, NothingUsableIsAnError) {
  const Folder folder;
  PrepareOptions options = Options({"en=" + folder.Write("bad.jsonl", "{\"texts\": \"a\"}\n[]\n")},
                                   folder.path() + "/out");
  EXPECT_THAT(MessageOf([&] { Prepare(options); }),
              AllOf(HasSubstr("no usable row"), HasSubstr("bad.jsonl:1: "), HasSubstr("$.text")));
  options = Options({"en=" + folder.Write("empty.txt", "")}, folder.path() + "/out2");
  EXPECT_THAT(MessageOf([&] { Prepare(options); }), HasSubstr("no usable row in 1 input files"));
}

TEST(Batch, DamageIsFound) {
  BatchRow row;
  row.documents = {{{1, 2, 3}, {0, 1, 1}}};
  row.identity = {5, 6};
  row.text_bytes = 9;
  BatchRow bad;
  bad.state = RowState::kBad;
  bad.problem = "why";
  const std::string bytes = SerializeBatch({row, bad});
  const std::vector<BatchRow> read = ParseBatch(bytes);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].documents[0].tokens, row.documents[0].tokens);
  EXPECT_EQ(read[0].documents[0].mask, row.documents[0].mask);
  EXPECT_EQ(read[0].identity, row.identity);
  EXPECT_EQ(read[1].problem, "why");
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(ParseBatch(bytes.substr(0, size)), Error) << size;
  for (size_t i = 0; i < bytes.size(); i += 17) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    EXPECT_THROW(ParseBatch(damaged), Error) << i;
  }
}

}  // namespace
}  // namespace mixtral::data

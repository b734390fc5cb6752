// SPDX-License-Identifier: Apache-2.0
// Files as bytes and rows: compression, lines, what a pattern finds.
#include "data/row_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/test_files.h"

namespace mixtral::data {
namespace {

using test::Folder;
using test::MessageOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string LongText() {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += std::to_string(i * 7919 % 10007) + " ";
  return text;
}

std::string ReadFile(const std::string& path) {
  return ReadUpTo(*OpenByteSource(path), size_t{1} << 30);
}

TEST(ByteSource, PlainGzipAndZstdGiveTheSame) {
  const Folder folder;
  const std::string text = LongText();
  const std::string half = text.substr(0, text.size() / 2), rest = text.substr(text.size() / 2);
  EXPECT_EQ(ReadFile(folder.Write("plain", text)), text);
  EXPECT_EQ(ReadFile(folder.Write("gz", test::Gzip(text))), text);
  EXPECT_EQ(ReadFile(folder.Write("zst", test::Zstd(text))), text);
  EXPECT_EQ(ReadFile(folder.Write("gz2", test::Gzip(half) + test::Gzip(rest))), text);
  EXPECT_EQ(ReadFile(folder.Write("zst2", test::Zstd(half) + test::Zstd(rest))), text);
  EXPECT_EQ(ReadFile(folder.Write("empty", "")), "");
  EXPECT_EQ(ReadFile(folder.Write("empty.gz", test::Gzip(""))), "");
  EXPECT_EQ(ReadFile(folder.Write("empty.zst", test::Zstd(""))), "");
  EXPECT_EQ(ReadUpTo(*OpenByteSource(folder.path() + "/gz"), 1000), text.substr(0, 1000));
}

TEST(ByteSource, DamagedAndTruncatedDataIsRefused) {
  const Folder folder;
  const std::string text = LongText();
  for (const std::string& packed : {test::Gzip(text), test::Zstd(text)}) {
    for (const size_t size : {size_t{5}, size_t{100}, packed.size() / 2, packed.size() - 1}) {
      const std::string path = folder.Write("cut", packed.substr(0, size));
      EXPECT_THAT(MessageOf([&] { ReadFile(path); }), HasSubstr("ends in the middle")) << size;
    }
    std::string damaged = packed;
    for (size_t i = packed.size() / 2; i < packed.size() / 2 + 40; ++i) damaged[i] = '\x55';
    EXPECT_THAT(MessageOf([&] { ReadFile(folder.Write("bad", damaged)); }), HasSubstr("damaged"));
    EXPECT_THAT(MessageOf([&] { ReadFile(folder.Write("tail", packed + "tail")); }),
                HasSubstr("/tail: damaged"));
  }
  EXPECT_THAT(MessageOf([&] { ReadFile(folder.path() + "/none"); }), HasSubstr("No such file"));
}

std::vector<std::string> Paths(const std::vector<std::string>& arguments, const Folder& folder) {
  std::vector<std::string> paths;
  for (const InputFile& file : ListInputs(arguments))
    paths.push_back(file.domain + ":" + file.path.substr(folder.path().size() + 1));
  return paths;
}

TEST(ListInputs, FilesFoldersAndGlobsInSortedOrder) {
  const Folder folder;
  for (const char* name :
       {"b.txt", "a.txt", "c.md", "sub/z.txt", "sub/deep/y.jsonl", "sub/.hidden", ".git/config"})
    folder.Write(name, "x");
  const std::string at = folder.path() + "/";
  EXPECT_THAT(Paths({"en=" + at + "*.txt"}, folder), ElementsAre("en:a.txt", "en:b.txt"));
  EXPECT_THAT(Paths({"fr=" + at + "sub", "en=" + at + "c.md"}, folder),
              ElementsAre("fr:sub/deep/y.jsonl", "fr:sub/z.txt", "en:c.md"));
  EXPECT_THAT(Paths({"a-B_1=" + at}, folder),
              ElementsAre("a-B_1:a.txt", "a-B_1:b.txt", "a-B_1:c.md", "a-B_1:sub/deep/y.jsonl",
                          "a-B_1:sub/z.txt"));
  EXPECT_EQ(ListInputs({"en=" + at + "sub/deep/y.jsonl"})[0].kind, FileKind::kJsonLines);
  EXPECT_EQ(ListInputs({"en=" + at + "a.txt"})[0].kind, FileKind::kText);
  EXPECT_EQ(ListInputs({"en=" + folder.Write("q.ndjson.zst", "")})[0].kind, FileKind::kJsonLines);
}

TEST(ListInputs, WrongArgumentsSayWhatWasExpected) {
  for (const char* argument : {"", "en", "=x", "en=", "e n=x", "e/n=x"})
    EXPECT_THAT(MessageOf([&] { ListInputs({argument}); }), HasSubstr("expected DOMAIN=FILES"))
        << argument;
  const Folder folder;
  EXPECT_THAT(MessageOf([&] { ListInputs({"en=" + folder.path() + "/*.txt"}); }),
              HasSubstr("data en: expected files, found none that match"));
  EXPECT_THAT(MessageOf([&] { ListInputs({"en=/dev/null"}); }), HasSubstr("regular file"));
}

std::vector<std::string> Rows(const std::vector<InputFile>& files) {
  std::vector<std::string> rows;
  RowReader reader(&files);
  while (const auto row = reader.Next())
    rows.push_back(fmt::format("{}/{}:{}", row->file_idx, row->line,
                               row->problem.empty() ? row->bytes : "!" + row->problem));
  return rows;
}

TEST(RowReader, LinesKeepTheirNumbers) {
  const Folder folder;
  const std::string lines = "one\n\n  \ntwo\r\nthree";
  const auto expected = ElementsAre("0/1:one", "0/4:two\r", "0/5:three");
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.Write("a.jsonl", lines)})), expected);
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.Write("a.jsonl.gz", test::Gzip(lines))})), expected);
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.Write("b.jsonl", lines + "\n")})), expected);
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.Write("e.jsonl", "")})), ElementsAre());
  const std::string wide(700000, 'w');  // longer than what is read at once
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.Write("w.jsonl", wide + "\n" + wide + "\nz")})),
              ElementsAre("0/1:" + wide, "0/2:" + wide, "0/3:z"));
}

TEST(RowReader, AnOverlongLineIsAProblemAndTheNextOneIsFine) {
  const Folder folder;
  const std::string path = folder.Write(
      "a.jsonl.zst", test::Zstd(std::string(RowReader::kMaxRowBytes + 5000000, 'a') + "\nnext\n"));
  const auto rows = Rows(ListInputs({"d=" + path}));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0], HasSubstr("0/1:!expected a line of at most 67.11 MB"));
  EXPECT_EQ(rows[1], "0/2:next");
  const std::string text =
      folder.Write("t.txt.zst", test::Zstd(std::string(RowReader::kMaxRowBytes + 1, 'a')));
  EXPECT_THAT(Rows(ListInputs({"d=" + text})),
              ElementsAre(HasSubstr("0/0:!expected at most 67.11 MB of text")));
}

TEST(RowReader, TextFilesAreOneRow) {
  const Folder folder;
  folder.Write("t/a.txt", "one\ntwo\n");
  folder.Write("t/b.txt.gz", test::Gzip("three"));
  folder.Write("t/c.jsonl", "4\n");
  EXPECT_THAT(Rows(ListInputs({"d=" + folder.path() + "/t"})),
              ElementsAre("0/0:one\ntwo\n", "1/0:three", "2/1:4"));
}

}  // namespace
}  // namespace mixtral::data

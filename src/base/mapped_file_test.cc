// SPDX-License-Identifier: Apache-2.0
// Tests of mapping, reading and atomic writing of files.
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "base/error.h"

extern "C" __attribute__((weak)) void __asan_init();  // there under the address sanitizer alone

namespace mixtral {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / "mixtral-base-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Write(const std::string& name, std::string_view text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }
  size_t FilesInFolder() const {
    return std::distance(fs::directory_iterator(folder_), fs::directory_iterator());
  }
  std::string folder_;
};

template <class Fn>
void ExpectError(ErrorCode code, const std::string& part, Fn&& fn) {
  try {
    fn();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

std::string Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_F(FileTest, MapsTheWholeFile) {
  const MappedFile file(Write("a", std::string("x\0y", 3)));
  EXPECT_EQ(Text(file), std::string("x\0y", 3));
  EXPECT_EQ(file.path(), Path("a"));
}

TEST_F(FileTest, EmptyFileIsAnEmptySpan) {
  const MappedFile file(Write("a", ""));
  EXPECT_TRUE(file.bytes().empty());
  file.WillNeed(0, 10);
}

TEST_F(FileTest, MappingSaysWhyItFailed) {
  ExpectError(ErrorCode::kNotFound, Path("no"), [&] { MappedFile file(Path("no")); });
  ExpectError(ErrorCode::kIo, "a directory", [&] { MappedFile file{std::string(folder_)}; });
  Write("a", "x");
  ExpectError(ErrorCode::kNotFound, "a/b", [&] { MappedFile file(Path("a/b")); });
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  ExpectError(ErrorCode::kIo, "pipe", [&] { MappedFile file(Path("pipe")); });  // must not wait
}

TEST_F(FileTest, MoveKeepsTheMapping) {
  MappedFile a(Write("a", "first"));
  MappedFile b(Write("b", "second"));
  MappedFile c(std::move(a));
  EXPECT_EQ(Text(c), "first");
  EXPECT_TRUE(a.bytes().empty());  // NOLINT(bugprone-use-after-move): what is left is defined
  c = std::move(b);
  EXPECT_EQ(Text(c), "second");
}

int64_t PageFaults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

int64_t FaultsOfReading(std::span<const std::byte> bytes) {
  const int64_t before = PageFaults();
  unsigned sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 4096) sum += std::to_integer<unsigned>(bytes[i]);
  EXPECT_EQ(sum, 'x' * (bytes.size() / 4096));
  return PageFaults() - before;
}

TEST_F(FileTest, DontNeedLetsPagesGoAndTheyComeBack) {
  const MappedFile file(Write("a", std::string(1 << 20, 'x')));
  FaultsOfReading(file.bytes());
  file.DontNeed(SIZE_MAX, SIZE_MAX);  // outside of the file: nothing to let go
  EXPECT_LT(FaultsOfReading(file.bytes()), 4);
  file.DontNeed(100, SIZE_MAX);                 // any range: cut to the file
  EXPECT_GE(FaultsOfReading(file.bytes()), 4);  // the system maps 16 pages a fault
}

TEST_F(FileTest, ReadIntoMemoryLeavesTheFileAlone) {
  const std::string text = std::string(3'000'001, 'x') + "end";
  MappedFile file(Write("a", text));
  const std::byte* const address = file.bytes().data();
  size_t reported = 0;
  file.ReadIntoMemory([&](size_t n_bytes) { reported += n_bytes; });
  EXPECT_EQ(reported, text.size());
  EXPECT_EQ(file.bytes().data(), address);
  file.DontNeed(0, text.size());  // must not throw the only copy away
  std::fstream(Path("a"), std::ios::binary | std::ios::in | std::ios::out) << "yyyy";
  EXPECT_EQ(Text(file), text);
  fs::resize_file(Path("a"), 1);
  EXPECT_EQ(Text(file), text);
  const MappedFile moved = std::move(file);
  moved.DontNeed(0, text.size());
  EXPECT_EQ(Text(moved), text);
}

TEST_F(FileTest, ReadIntoMemoryRefusesAnotherFile) {
  MappedFile replaced(Write("a", std::string(10000, 'x')));
  Write("b", std::string(10000, 'z'));
  fs::rename(Path("b"), Path("a"));
  ExpectError(ErrorCode::kIo, "found another", [&] { replaced.ReadIntoMemory([](size_t) {}); });
  EXPECT_EQ(Text(replaced), std::string(10000, 'x'));
  MappedFile shrunk(Write("c", std::string(10000, 'x')));
  fs::resize_file(Path("c"), 5000);
  ExpectError(ErrorCode::kIo, "expected 10000 bytes, as when it was opened, found 5000",
              [&] { shrunk.ReadIntoMemory([](size_t) {}); });
}

TEST_F(FileTest, LockReadsAndReports) {
  const MappedFile file(Write("a", std::string(100000, 'x')));
  size_t reported = 0;
  file.Lock([&](size_t n_bytes) { reported += n_bytes; });
  EXPECT_EQ(reported, 100000u);
}

/// Ends with 0 when locking is refused as it should be. In a process of its own: it gives up its
/// right to lock without limit.
[[noreturn]] void LockWithoutRights(const std::string& path) {
  const MappedFile file(path);
  const rlimit small{.rlim_cur = 65536, .rlim_max = 65536};
  if (setrlimit(RLIMIT_MEMLOCK, &small) != 0) _exit(3);
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(4);
  try {
    file.Lock([](size_t) {});
  } catch (const Error& error) {
    const std::string message = error.what();
    const bool is_clear = message.find("RLIMIT_MEMLOCK is 65.54 kB") != std::string::npos &&
                          message.find("ulimit -l") != std::string::npos;
    _exit(is_clear && error.code() == ErrorCode::kOutOfMemory ? 0 : 5);
  }
  _exit(6);
}

TEST_F(FileTest, LockSaysHowToRaiseTheLimit) {
  if (__asan_init != nullptr) GTEST_SKIP() << "the address sanitizer makes mlock do nothing";
  const std::string path = Write("a", std::string(1 << 20, 'x'));
  EXPECT_EXIT(LockWithoutRights(path), testing::ExitedWithCode(0), "");
}

TEST_F(FileTest, ReadsTextOfAnySizeUpToTheLimit) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16} << 10, size_t{100'001}}) {
    const std::string text(size, 'q');
    EXPECT_EQ(ReadTextFile(Write("a", text)), text);
    EXPECT_EQ(ReadTextFile(Path("a"), size), text);
  }
  ExpectError(ErrorCode::kInvalidArgument, "at most 10 B",
              [&] { ReadTextFile(Write("a", "12345678901"), 10); });
  ExpectError(ErrorCode::kInvalidArgument, "/dev/zero", [] { ReadTextFile("/dev/zero", 1 << 20); });
}

TEST_F(FileTest, ReadingSaysWhyItFailed) {
  ExpectError(ErrorCode::kNotFound, Path("no"), [&] { ReadTextFile(Path("no")); });
  ExpectError(ErrorCode::kIo, "directory", [&] { ReadTextFile(folder_); });
}

TEST_F(FileTest, WritesAndReplacesLeavingNothingElse) {
  WriteFileAtomically(Path("a"), Bytes("one"));
  EXPECT_EQ(ReadTextFile(Path("a")), "one");
  const MappedFile old(Path("a"));
  WriteFileAtomically(Path("a"), Bytes("another"));
  EXPECT_EQ(ReadTextFile(Path("a")), "another");
  EXPECT_EQ(Text(old), "one");  // a reader keeps the file it opened
  WriteFileAtomically(Path("empty"), {});
  EXPECT_EQ(ReadTextFile(Path("empty")), "");
  EXPECT_EQ(FilesInFolder(), 2u);
}

TEST_F(FileTest, WritesThroughALinkToItsTarget) {
  Write("target", "old");
  fs::create_symlink("target", Path("link"));
  WriteFileAtomically(Path("link"), Bytes("new"));
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_EQ(ReadTextFile(Path("target")), "new");
}

TEST_F(FileTest, FailedWritesLeaveNothingBehind) {
  ExpectError(ErrorCode::kNotFound, "no/a", [&] { WriteFileAtomically(Path("no/a"), Bytes("x")); });
  fs::create_directory(Path("folder"));
  ExpectError(ErrorCode::kIo, "a directory",
              [&] { WriteFileAtomically(Path("folder"), Bytes("x")); });
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  ExpectError(ErrorCode::kIo, "pipe", [&] { WriteFileAtomically(Path("pipe"), Bytes("x")); });
  EXPECT_EQ(FilesInFolder(), 2u);
}

TEST_F(FileTest, AFullDiskLeavesTheOldFileAndNoRest) {  // a file size limit stands in for the disk
  Write("a", "old");
  rlimit unlimited{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);  // the write is to fail, not to end the test
  const rlimit small{.rlim_cur = 1000, .rlim_max = unlimited.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ExpectError(ErrorCode::kIo, "expected to write it",
              [&] { WriteFileAtomically(Path("a"), Bytes(std::string(5000, 'x'))); });
  setrlimit(RLIMIT_FSIZE, &unlimited);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(ReadTextFile(Path("a")), "old");
  EXPECT_EQ(FilesInFolder(), 1u);
}

}  // namespace
}  // namespace mixtral

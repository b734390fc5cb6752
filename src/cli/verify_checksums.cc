// SPDX-License-Identifier: Apache-2.0
// Sums are looked for where people and downloaders put them; nothing is fetched.
#include "cli/verify_checksums.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "io/gguf.h"

namespace mixtral::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kHexDigits = 64;
constexpr size_t kPiece = size_t{4} << 20;
constexpr size_t kMaxSumsBytes = size_t{16} << 20;
constexpr int kMaxParts = 4096;
constexpr size_t kMaxEntries = 100000;  // of a folder

std::optional<std::string> AsHex(std::string_view text) {
  if (text.size() != kHexDigits) return std::nullopt;
  std::string hex(text);
  for (char& c : hex) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return std::nullopt;
  }
  return hex;
}

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// The model's own files: the parts of a split set, or what a folder holds.
std::vector<fs::path> FilesOf(const std::string& model_path) {
  std::error_code ignored;
  std::vector<fs::path> files;
  if (!fs::is_directory(model_path, ignored)) {
    for (int i = 0; i < kMaxParts; ++i) {
      const auto part = SplitSibling(model_path, i);
      if (!part || !IsFile(*part)) break;
      files.emplace_back(*part);
    }
    if (files.empty()) files.emplace_back(model_path);
    return files;
  }
  fs::directory_iterator it(model_path, ignored);
  for (const fs::directory_iterator end; !ignored && it != end && files.size() < kMaxEntries;
       it.increment(ignored))
    if (IsFile(it->path())) files.push_back(it->path());
  std::sort(files.begin(), files.end());
  return files;
}

void AddFromSums(const fs::path& folder, const std::vector<fs::path>& files,
                 std::vector<Checksum>* checksums) {
  for (const char* name : {"SHA256SUMS", "SHA256SUMS.txt", "sha256sums.txt"}) {
    const std::string sums = (folder / name).string();
    if (!IsFile(sums)) continue;
    for (const NamedSum& sum : ParseSums(ReadTextFile(sums, kMaxSumsBytes), sums)) {
      const fs::path named = (folder / sum.name).lexically_normal();
      const auto is_it = [&](const fs::path& file) { return file.lexically_normal() == named; };
      if (std::any_of(files.begin(), files.end(), is_it))
        checksums->push_back({named.string(), sum.hex, sums});
    }
  }
}

/// FILE.sha256: the sum alone, or a line as of SHA256SUMS.
void AddFromOwnFile(const fs::path& file, std::vector<Checksum>* checksums) {
  const std::string source = file.string() + ".sha256";
  if (!IsFile(source)) return;
  const std::string text = ReadTextFile(source, kMaxSumsBytes);
  const std::string_view first = std::string_view(text).substr(0, text.find_first_of(" \t\r\n"));
  const auto hex = AsHex(first);
  if (!hex)
    Throw(ErrorCode::kCorrupt, "checksum: expected 64 hexadecimal digits, found '{}', in {}",
          Printable(first), source);
  checksums->push_back({file.string(), *hex, source});
}

/// The downloader's notes: revision, ETag (of large files their SHA-256), time, a line each.
void AddFromHuggingFace(const fs::path& file, std::vector<Checksum>* checksums) {
  const fs::path notes = file.parent_path() / ".cache" / "huggingface" / "download" /
                         (file.filename().string() + ".metadata");
  if (IsFile(notes)) {
    const std::string text = ReadTextFile(notes.string(), kMaxSumsBytes);
    const auto lines = Split(text, '\n');
    const auto hex = lines.size() > 1 ? AsHex(lines[1]) : std::nullopt;
    if (hex) checksums->push_back({file.string(), *hex, notes.string()});
  }
  std::error_code ignored;
  const fs::path target = fs::read_symlink(file, ignored);
  if (ignored || target.parent_path().filename() != "blobs") return;
  if (const auto hex = AsHex(target.filename().string()))
    checksums->push_back({file.string(), *hex, target.string()});
}

std::string HashFile(const MappedFile& file, std::atomic<int64_t>* done,
                     const std::atomic<bool>* cancel, const std::function<void()>& after_piece) {
  Sha256 sha;
  std::span<const std::byte> rest = file.bytes();
  while (!rest.empty()) {
    if (cancel != nullptr && cancel->load()) return "";
    const size_t n = std::min(kPiece, rest.size());
    sha.Update(rest.first(n));
    rest = rest.subspan(n);
    done->fetch_add(static_cast<int64_t>(n));
    after_piece();
  }
  return Hex(sha.Finish());
}

}  // namespace

std::vector<NamedSum> ParseSums(std::string_view text, const std::string& path) {
  std::vector<NamedSum> sums;
  int number = 0;
  for (std::string_view line : Split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    const auto hex = AsHex(line.substr(0, std::min(kHexDigits, line.size())));
    const std::string_view name = line.size() > kHexDigits + 2 ? line.substr(kHexDigits + 2) : "";
    if (!hex || name.empty() || line[kHexDigits] != ' ')
      Throw(ErrorCode::kCorrupt,
            "checksum: expected 64 hexadecimal digits, two blanks and a name, found '{}', in {}:{}",
            Printable(line), path, number);
    sums.push_back({std::string(name), *hex});
  }
  return sums;
}

std::vector<Checksum> FindChecksums(const std::string& model_path) {
  const std::vector<fs::path> files = FilesOf(model_path);
  std::vector<Checksum> checksums;
  if (files.empty()) return checksums;
  AddFromSums(files.front().parent_path(), files, &checksums);
  for (const fs::path& file : files) {
    AddFromOwnFile(file, &checksums);
    AddFromHuggingFace(file, &checksums);
  }
  return checksums;
}

std::vector<ChecksumResult> CompareChecksums(
    const std::vector<Checksum>& checksums, int n_threads,
    const std::function<void(int64_t done, int64_t total)>& on_bytes,
    const std::atomic<bool>* cancel) {
  std::vector<ChecksumResult> results(checksums.size());
  std::vector<std::optional<MappedFile>> files(checksums.size());
  int64_t total = 0;
  for (size_t i = 0; i < checksums.size(); ++i) {
    results[i].checksum = checksums[i];
    try {
      files[i].emplace(checksums[i].path);
      total += static_cast<int64_t>(files[i]->bytes().size());
    } catch (const Error& error) {
      results[i].problem = error.what();
    }
  }
  ThreadPool pool(std::max(1, std::min<int>(n_threads, static_cast<int>(checksums.size()))));
  std::atomic<int64_t> done = 0;
  pool.Run(static_cast<int>(checksums.size()), [&](int tile, int worker) noexcept {
    const auto i = static_cast<size_t>(tile);
    if (!files[i]) return;
    results[i].found = HashFile(*files[i], &done, cancel, [&] {
      if (worker == 0) on_bytes(done.load(), total);
    });
    if (results[i].found.empty()) results[i].problem = "interrupted";
  });
  return results;
}

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Sorting makes the order of rows a function of the file names alone, not of the file system.
#include "data/row_reader.h"

#include <glob.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::data {
namespace {

namespace fs = std::filesystem;

bool IsDomainName(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), is_allowed);
}

std::vector<std::string> FilesBelow(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  auto it = fs::recursive_directory_iterator(folder, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file(error)) {
      files.push_back(it->path().string());
    }
  }
  if (error) Throw(ErrorCode::kIo, "{}: cannot be listed: {}", folder, error.message());
  return files;
}

std::vector<std::string> Expand(const std::string& pattern) {
  std::error_code ignored;
  std::vector<std::string> found;
  if (fs::exists(pattern, ignored)) {
    found.push_back(pattern);
  } else {
    glob_t matches = {};
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0)
      found.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    globfree(&matches);
  }
  std::vector<std::string> files;
  for (const std::string& path : found) {
    if (!fs::is_directory(path, ignored)) {
      files.push_back(path);
      continue;
    }
    const std::vector<std::string> below = FilesBelow(path);
    files.insert(files.end(), below.begin(), below.end());
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

FileKind KindOf(std::string_view path) {
  for (const std::string_view packed : {".gz", ".zst"})
    if (path.ends_with(packed)) path.remove_suffix(packed.size());
  return path.ends_with(".jsonl") || path.ends_with(".ndjson") ? FileKind::kJsonLines
                                                               : FileKind::kText;
}

InputFile Describe(std::string path, std::string domain) {
  std::error_code error;
  InputFile file = {.path = std::move(path), .domain = std::move(domain)};
  file.kind = KindOf(file.path);
  if (!fs::is_regular_file(file.path, error))
    Throw(ErrorCode::kInvalidArgument, "{}: expected a regular file", file.path);
  file.n_bytes = fs::file_size(file.path, error);
  if (error) Throw(ErrorCode::kIo, "{}: {}", file.path, error.message());
  file.modified_ns =
      static_cast<int64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                               fs::last_write_time(file.path, error).time_since_epoch())
                               .count());
  if (error) Throw(ErrorCode::kIo, "{}: {}", file.path, error.message());
  return file;
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

std::vector<InputFile> ListInputs(const std::vector<std::string>& arguments) {
  std::vector<InputFile> files;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    const std::string domain = argument.substr(0, std::min(equals, argument.size()));
    if (equals == std::string::npos || equals + 1 == argument.size() || !IsDomainName(domain))
      Throw(ErrorCode::kInvalidArgument,
            "data: expected DOMAIN=FILES with a domain of 1 to 64 letters, digits, _ and -, found "
            "'{}'",
            Printable(argument));
    const std::string pattern = argument.substr(equals + 1);
    const std::vector<std::string> paths = Expand(pattern);
    if (paths.empty())
      Throw(ErrorCode::kNotFound, "data {}: expected files, found none that match '{}'", domain,
            Printable(pattern, 300));
    for (const std::string& path : paths) files.push_back(Describe(path, domain));
  }
  return files;
}

std::optional<RawRow> RowReader::Next() {
  while (file_idx_ < files_->size()) {
    const InputFile& file = (*files_)[file_idx_];
    if (!source_) {
      source_ = OpenByteSource(file.path);
      buffer_.clear();
      at_ = line_ = 0;
      if (file.kind == FileKind::kText) return WholeFile();
    }
    if (file.kind == FileKind::kJsonLines)
      if (auto row = NextLine()) return row;
    n_done_bytes_ += file.n_bytes;
    source_.reset();
    ++file_idx_;
  }
  return std::nullopt;
}

RawRow RowReader::WholeFile() {
  RawRow row = {.file_idx = static_cast<uint32_t>(file_idx_)};
  row.bytes = ReadUpTo(*source_, kMaxRowBytes + 1);
  if (row.bytes.size() > kMaxRowBytes) {
    row.problem = fmt::format("expected at most {} of text, found more", HumanBytes(kMaxRowBytes));
    row.bytes.clear();
  }
  return row;
}

/// More bytes behind those that are left. false: the file has ended.
bool RowReader::Fill() {
  constexpr size_t kPiece = size_t{1} << 18;
  buffer_.erase(0, std::exchange(at_, 0));
  const size_t used = buffer_.size();
  buffer_.resize(used + kPiece);
  const size_t n = source_->Read(std::span(buffer_).subspan(used));
  buffer_.resize(used + n);
  return n > 0;
}

std::optional<RawRow> RowReader::NextLine() {
  RawRow row = {.file_idx = static_cast<uint32_t>(file_idx_)};
  for (size_t searched = 0; true;) {
    const size_t end = buffer_.find('\n', at_ + searched);
    if (end == std::string::npos) {
      searched = buffer_.size() - at_;
      if (searched > kMaxRowBytes) {  // read on without keeping what cannot be used
        row.problem = fmt::format("expected a line of at most {}, found a longer one",
                                  HumanBytes(kMaxRowBytes));
        at_ = buffer_.size();
        searched = 0;
      }
      if (Fill()) continue;
      if (at_ == buffer_.size() && row.problem.empty()) return std::nullopt;
    }
    const size_t stop = std::min(end, buffer_.size());
    row.line = ++line_;
    if (row.problem.empty()) row.bytes.assign(buffer_, at_, stop - at_);
    at_ = std::min(stop + 1, buffer_.size());
    searched = 0;
    if (!row.problem.empty() || !IsBlank(row.bytes)) return row;
  }
}

}  // namespace mixtral::data

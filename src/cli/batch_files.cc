// SPDX-License-Identifier: Apache-2.0
// The input is read twice: once to see what is in it, once line by line while it is computed, so
// that a large file does not have to be in memory.
#include "cli/batch_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::cli {
namespace {

constexpr size_t kMaxListed = 20;             // problems
constexpr size_t kMaxLine = size_t{1} << 26;  // bytes
constexpr std::string_view kPaths[] = {"/v1/completions", "/v1/chat/completions", "/v1/embeddings"};

std::string_view PathOf(const Json& body, std::string_view where) {
  if (body.Find("messages")) return "/v1/chat/completions";
  if (body.Find("prompt")) return "/v1/completions";
  if (body.Find("input")) return "/v1/embeddings";
  Throw(ErrorCode::kCorrupt, "{}: expected \"prompt\", \"messages\" or \"input\", found none",
        where);
}

std::string CheckedPath(const std::string& url) {
  for (const std::string_view path : kPaths)
    if (url == path) return url;
  Throw(ErrorCode::kCorrupt,
        "url: expected /v1/completions, /v1/chat/completions or /v1/embeddings, found '{}'",
        Printable(url, 60));
}

}  // namespace

BatchItem ParseBatchLine(std::string_view text, int64_t line, Json* body) {
  const Json json = Json::Parse(text, "the line");
  if (!json.IsObject()) Throw(ErrorCode::kCorrupt, "expected a JSON object");
  BatchItem item;
  item.line = line;
  item.id = fmt::format("line-{}", line);
  if (const auto id = json.Find("custom_id")) item.id = id->AsString();
  if (item.id.empty()) Throw(ErrorCode::kCorrupt, "custom_id: expected a text, found an empty one");
  const auto inner = json.Find("body");
  if (inner && !inner->IsObject()) Throw(ErrorCode::kCorrupt, "body: expected an object");
  const Json& content = inner ? *inner : json;
  const auto url = json.Find("url");
  item.path = url ? CheckedPath(url->AsString())
                  : std::string(PathOf(content, inner ? "body" : "the line"));
  if (const auto stream = content.Find("stream"); stream && stream->IsBool() && stream->AsBool())
    Throw(ErrorCode::kCorrupt, "stream: expected false, found true: answers of a batch are whole");
  if (body != nullptr) *body = content;
  return item;
}

BatchInput ReadBatchInput(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Throw(ErrorCode::kNotFound, "input: cannot open {}: {}", path, std::strerror(errno));
  BatchInput input;
  std::map<std::string, int64_t> lines_by_id;
  std::string text;
  int64_t offset = 0;
  for (int64_t line = 1; std::getline(file, text); ++line) {
    const int64_t begin = offset;
    offset += std::ssize(text) + 1;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      if (text.size() > kMaxLine)
        Throw(ErrorCode::kCorrupt, "expected at most {} bytes, found {}", kMaxLine, text.size());
      BatchItem item = ParseBatchLine(text, line, nullptr);
      item.offset = begin;
      const auto [known, is_new] = lines_by_id.try_emplace(item.id, line);
      if (!is_new)
        Throw(ErrorCode::kCorrupt, "custom_id: expected each once, found '{}' of line {} again",
              Printable(item.id, 60), known->second);
      input.items.push_back(std::move(item));
    } catch (const Error& error) {
      ++input.n_bad;
      if (input.problems.size() < kMaxListed)
        input.problems.push_back(fmt::format("{} line {}: {}", path, line, error.what()));
    }
  }
  if (file.bad()) Throw(ErrorCode::kIo, "input: cannot read {}: {}", path, std::strerror(errno));
  return input;
}

Json BatchBodies::Read(const BatchItem& item) {
  std::string text;
  file_.clear();
  file_.seekg(item.offset);
  Json body;
  if (!std::getline(file_, text) || ParseBatchLine(text, item.line, &body).id != item.id)
    Throw(ErrorCode::kCorrupt, "input: line {} has changed while it was read, in {}", item.line,
          path_);
  return body;
}

BatchOutput::BatchOutput(const std::string& path) : path_(path) {
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) Fail("cannot open");
  struct stat status = {};
  if (fstat(file_, &status) != 0) Fail("cannot read");
  if (!S_ISREG(status.st_mode))
    Throw(ErrorCode::kInvalidArgument, "output: expected a file, found something else: {}", path);
  // Two at once would write the same answers into one file.
  if (flock(file_, LOCK_EX | LOCK_NB) != 0)
    Throw(ErrorCode::kIo, "output: another batch is writing it: {}", path);
  ReadDone();
}

BatchOutput::~BatchOutput() {
  if (file_ >= 0) close(file_);
}

void BatchOutput::Fail(const char* what) const {
  Throw(ErrorCode::kIo, "output: {} {}: {}", what, path_, std::strerror(errno));
}

void BatchOutput::ReadDone() {
  std::ifstream file(path_, std::ios::binary);
  std::string text;
  for (int64_t line = 1; std::getline(file, text); ++line) {
    if (file.eof()) {  // no line end: the writer was stopped within it
      torn_bytes_ = std::ssize(text);
      break;
    }
    size_ += std::ssize(text) + 1;
    if (text.empty()) continue;
    WithContext(fmt::format("{} line {}", path_, line),
                [&] { done_.insert(Json::Parse(text, "the line").At("custom_id").AsString()); });
  }
  if (torn_bytes_ > 0 && ftruncate(file_, size_) != 0) Fail("cannot write");
}

void BatchOutput::Append(std::string_view line) {
  std::string text(line);
  text += '\n';
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = pwrite(file_, text.data() + written, text.size() - written,
                             size_ + static_cast<off_t>(written));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = errno;
      if (ftruncate(file_, size_) != 0) errno = error;
      errno = error;
      Fail("cannot write");
    }
    written += static_cast<size_t>(n);
  }
  size_ += std::ssize(text);
}

void BatchOutput::Sync() {
  if (fsync(file_) != 0) Fail("cannot write");
}

}  // namespace mixtral::cli

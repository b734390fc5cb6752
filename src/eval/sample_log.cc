// SPDX-License-Identifier: Apache-2.0
#include "eval/sample_log.h"

#include <filesystem>
#include <iterator>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

namespace fs = std::filesystem;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) Throw(ErrorCode::kIo, "samples: cannot read {}", path);
  return text;
}

/// The first key in which two settings differ.
std::string Difference(const Json& then, const Json& now) {
  for (const std::string& key : now.Keys()) {
    const auto value = then.Find(key);
    const std::string before = value ? value->Dump() : "none", after = now.At(key).Dump();
    if (before != after) return fmt::format("{} {}, now {}", key, before, after);
  }
  return "other settings";
}

}  // namespace

SampleLog::SampleLog(const std::string& path, const Json& settings) : path_(path) {
  const bool is_there = fs::exists(path);
  if (is_there) {
    std::string text = ReadWhole(path);
    const size_t end = text.rfind('\n');
    text.resize(end == std::string::npos ? 0 : end + 1);  // a line that was cut off
    if (!text.empty()) Read(text, settings);
    std::error_code error;
    fs::resize_file(path, text.size(), error);
    if (error) Throw(ErrorCode::kIo, "samples: cannot write {}: {}", path, error.message());
  }
  file_.open(path, std::ios::binary | std::ios::app);
  if (!file_) Throw(ErrorCode::kIo, "samples: cannot write {}", path);
  if (fs::file_size(path) == 0) {
    file_ << settings.Dump() << '\n';
    Flush();
  }
}

void SampleLog::Read(const std::string& text, const Json& settings) {
  size_t line = 0;
  for (const std::string_view row :
       Split(std::string_view(text).substr(0, text.size() - 1), '\n')) {
    const Json json = Json::Parse(row, fmt::format("{}:{}", path_, ++line));
    if (line > 1) {
      samples_[json.At("index").AsInt(0)] = json;
    } else if (json.Dump() != settings.Dump()) {
      Throw(ErrorCode::kInvalidArgument,
            "samples: expected those of this run, found those of another one ({}), in {}: give "
            "another --output",
            Difference(json, settings), path_);
    }
  }
}

void SampleLog::Add(int64_t index, Json sample) {
  sample.Set("index", index);
  if (file_.is_open()) file_ << sample.Dump() << '\n';
  samples_[index] = std::move(sample);
}

void SampleLog::Flush() {
  if (!file_.is_open()) return;
  file_.flush();
  if (!file_) Throw(ErrorCode::kIo, "samples: cannot write {}: is the disk full?", path_);
}

}  // namespace mixtral::eval

// SPDX-License-Identifier: Apache-2.0
// shards.json appears last and disappears first: what has it is whole.
#include "data/work_folder.h"

#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"

namespace mixtral::data {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

void MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) Throw(ErrorCode::kIo, "{}: cannot be made: {}", path, error.message());
}

/// What a preparation may leave in its folder beside work/ and the shards that shards.json lists.
bool IsOurFile(const std::string& name) {
  const fs::path path(name);
  const std::string ending = path.extension().string();
  return name == "shards.json" || name == "prepare.json" || name == "tokenizer.model" ||
         name == "tokenizer.json" || name == "work" || ending == ".bin" || ending == ".idx" ||
         ending == ".mask";
}

void CheckIsOurs(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!IsOurFile(name))
      Throw(ErrorCode::kInvalidArgument,
            "{}: expected a new folder or one of a preparation, found '{}' in it", folder, name);
  }
  if (error) Throw(ErrorCode::kIo, "{}: cannot be listed: {}", folder, error.message());
}

}  // namespace

bool WorkFolder::IsFinishedWith(const std::string& plan_sha256) const {
  return ReadPrepareReport(folder_).At("plan_sha256").AsString() == plan_sha256;
}

void WorkFolder::Clear() const {
  std::error_code error;
  std::vector<fs::path> old;
  fs::remove(folder_ + "/shards.json", error);  // first: from here on the folder is unfinished
  for (const auto& entry : fs::directory_iterator(folder_, error)) old.push_back(entry.path());
  for (const fs::path& path : old) fs::remove_all(path, error);
  if (error) Throw(ErrorCode::kIo, "{}: cannot be emptied: {}", folder_, error.message());
}

WorkFolder::State WorkFolder::Begin(const Json& plan, Restart restart) {
  MakeFolder(folder_);
  CheckIsOurs(folder_);
  const std::string text = plan.Dump(1);
  std::error_code ignored;
  const auto has = [&](const char* name) { return fs::exists(folder_ + name, ignored); };
  if (!fs::is_empty(folder_, ignored) && !has("/shards.json") && !has("/prepare.json") &&
      !has("/work"))
    Throw(ErrorCode::kInvalidArgument, "{}: expected an empty folder, found files in it", folder_);
  if (restart == Restart::kYes) Clear();
  if (has("/shards.json")) {
    if (!IsFinishedWith(Sha256Hex(text)))
      Throw(ErrorCode::kInvalidArgument,
            "{}: holds shards of other inputs, options or program version; --restart replaces them",
            folder_);
    return State::kFinished;
  }
  const std::string plan_path = work_ + "/plan.json";
  if (has("/work/plan.json")) {
    if (ReadTextFile(plan_path) != text)
      Throw(ErrorCode::kInvalidArgument,
            "{}: was begun with other inputs or options; --restart begins anew", folder_);
    return State::kReady;
  }
  MakeFolder(work_);
  WriteFileAtomically(plan_path, Bytes(text));
  return State::kReady;
}

std::string WorkFolder::BatchPath(uint64_t batch) const {
  return fmt::format("{}/batch-{:08}", work_, batch);
}

bool WorkFolder::HasBatch(uint64_t batch) const {
  std::error_code ignored;
  return fs::exists(BatchPath(batch), ignored);
}

void WorkFolder::WriteBatch(uint64_t batch, const std::vector<BatchRow>& rows) const {
  WriteFileAtomically(BatchPath(batch), Bytes(SerializeBatch(rows)));
}

std::vector<BatchRow> WorkFolder::ReadBatch(uint64_t batch) const {
  const std::string path = BatchPath(batch);
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  return WithContext(path, [&] {
    return ParseBatch({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  });
}

void WorkFolder::Publish(const std::string& name, std::string_view content) const {
  const std::string made = work_ + "/" + name;
  WriteFileAtomically(made, Bytes(content));
  std::error_code error;
  fs::rename(made, folder_ + "/" + name, error);
  if (error) Throw(ErrorCode::kIo, "{}: cannot be renamed: {}", made, error.message());
}

void WorkFolder::Remove() const {
  std::error_code error;
  fs::remove_all(work_, error);
  if (error) Throw(ErrorCode::kIo, "{}: cannot be removed: {}", work_, error.message());
}

}  // namespace mixtral::data

// SPDX-License-Identifier: Apache-2.0
// Tensor index over mapped files, and the safetensors set of a folder (mapped_checkpoint.h).
#include "io/mapped_checkpoint.h"

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/memory_limit.h"
#include "base/strings.h"
#include "io/safetensors.h"

namespace mixtral {
namespace {

constexpr size_t kMaxShards = 4096;

/// A shard's name comes from a downloaded file: it must not lead out of the folder.
void CheckPlainName(const std::string& name, const std::string& index_path) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain)
    Throw(ErrorCode::kCorrupt, "weight_map: expected plain file names, found '{}', in {}",
          Printable(name), index_path);
}

}  // namespace

std::map<std::string, std::string> ParseWeightIndex(std::string_view text,
                                                    const std::string& where) {
  const Json weight_map = Json::Parse(text, where).At("weight_map");
  std::map<std::string, std::string> shard_of;
  std::set<std::string> shards;
  for (const std::string& name : weight_map.Keys()) {
    std::string shard = weight_map.At(name).AsString();
    if (shards.insert(shard).second) CheckPlainName(shard, where);
    shard_of[name] = std::move(shard);
  }
  if (shards.empty() || shards.size() > kMaxShards)
    Throw(ErrorCode::kCorrupt, "weight_map: expected 1..{} files, found {}, in {}", kMaxShards,
          shards.size(), where);
  return shard_of;
}

const TensorView* MappedCheckpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second.view;
}

const std::string* MappedCheckpoint::FileOf(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &files_[found->second.file].path();
}

std::string MappedCheckpoint::Where(std::string_view name) const {
  const std::string* file = FileOf(name);
  return fmt::format("{}:{}", file != nullptr ? *file : path_, Printable(name));
}

uint64_t MappedCheckpoint::FileBytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) total += file.bytes().size();
  return total;
}

void MappedCheckpoint::HoldWeights(const OpenOptions& options) {
  const bool is_read = options.memory == WeightMemory::kRead;
  const bool is_locked = options.lock == LockMemory::kYes;
  if (!is_read && !is_locked) return;
  // Memory that is promised and then missing would end the process instead.
  const MemoryLimits limits = ReadMemoryLimits();
  if (limits.total > 0 && FileBytes() > limits.Left())
    Throw(ErrorCode::kOutOfMemory,
          "memory for the weights: expected {}, found {} free, in {} (mapped files that are not "
          "locked need none)",
          HumanBytes(FileBytes()), HumanBytes(limits.Left()), path_);
  const uint64_t total = FileBytes() * (is_read && is_locked ? 2 : 1);
  uint64_t done = 0;
  const auto on_bytes = [&](size_t n_bytes) {
    done += n_bytes;
    if (options.on_progress) options.on_progress(done, total);
  };
  for (MappedFile& file : files_) {
    if (is_read) file.ReadIntoMemory(on_bytes);
    if (is_locked) file.Lock(on_bytes);
  }
}

void MappedCheckpoint::AddFile(MappedFile file,
                               std::vector<std::pair<std::string, TensorView>> tensors) {
  const std::string& file_path = file.path();
  for (auto& [name, view] : tensors) {
    if (!tensors_.try_emplace(name, Entry{view, files_.size()}).second)
      Throw(ErrorCode::kCorrupt, "tensor name: expected once, found again, in {}:{}", file_path,
            Printable(name));
    names_.push_back(std::move(name));
  }
  files_.push_back(std::move(file));
}

void MappedCheckpoint::ReadConfigFile(std::string_view name) {
  config_path_ = InFolder(name);
  config_ = Json::Parse(ReadTextFile(config_path_), config_path_);
}

std::string MappedCheckpoint::InFolder(std::string_view name) const {
  return (std::filesystem::path(path_) / name).string();
}

void MappedCheckpoint::AddSafetensors(const std::string& single_name,
                                      const std::string& index_name) {
  const std::string single = InFolder(single_name);
  if (!FileExists(single)) return AddShards(InFolder(index_name));
  MappedFile file(single);
  SafetensorsFile parsed = ParseSafetensors(file.bytes(), file.path());
  AddFile(std::move(file), std::move(parsed.tensors));
}

void MappedCheckpoint::AddShards(const std::string& index_path) {
  const std::map<std::string, std::string> shard_of =
      ParseWeightIndex(ReadTextFile(index_path), index_path);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    const std::string shard_path = InFolder(shard);
    if (!FileExists(shard_path))
      Throw(ErrorCode::kNotFound, "shard: expected {}, as {} says, found no such file", shard_path,
            index_path);
    MappedFile file(shard_path);
    SafetensorsFile parsed = ParseSafetensors(file.bytes(), file.path());
    for (const auto& [name, view] : parsed.tensors) {
      const auto mapped = shard_of.find(name);
      if (mapped == shard_of.end() || mapped->second != shard)
        Throw(ErrorCode::kCorrupt, "weight_map: expected {}, found {}, in {}:{}", shard,
              mapped == shard_of.end() ? "nothing" : Printable(mapped->second), index_path,
              Printable(name));
    }
    AddFile(std::move(file), std::move(parsed.tensors));
  }
  for (const auto& [name, shard] : shard_of)
    if (Find(name) == nullptr)
      Throw(ErrorCode::kCorrupt, "tensor: expected in {}, as {} says, found none, in {}:{}", shard,
            index_path, InFolder(shard), Printable(name));
}

std::optional<std::string> ReadIfThere(const std::string& path) {
  if (!FileExists(path)) return std::nullopt;
  return ReadTextFile(path);
}

bool FileExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// Tensor index over mapped files, and the safetensors set of a folder (mapped_checkpoint.h).
#include "io/mapped_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/arena.h"
#include "base/check.h"
#include "base/error.h"
#include "base/memory_limit.h"
#include "base/strings.h"
#include "io/safetensors.h"
#include "io/shape.h"

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

/// What a tensor is made of, and its bytes once they are made.
struct MappedCheckpoint::Conversion {
  struct Source {
    size_t file;
    std::span<const std::byte> bytes;
  };
  std::string where;
  std::function<void(std::span<std::byte>)> make;
  std::vector<Source> sources;
  AlignedBuffer buffer;
  bool is_done = false;
};

const TensorView* MappedCheckpoint::Look(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second.view;
}

const TensorView* MappedCheckpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return nullptr;
  Entry& entry = found->second;
  if (entry.conversion) {
    const std::lock_guard lock(converting_);
    Convert(*entry.conversion, entry.view);
  }
  return &entry.view;
}

void MappedCheckpoint::Convert(Conversion& conversion, TensorView& view) const {
  if (conversion.is_done) return;
  conversion.buffer = AlignedBuffer(view.bytes.size());
  WithContext(conversion.where, [&] { conversion.make(conversion.buffer.bytes()); });
  view.bytes = conversion.buffer.bytes();
  conversion.is_done = true;
  // The pages stay in the system's cache, but they no longer count as this program's memory.
  for (const Conversion::Source& source : conversion.sources) {
    const MappedFile& file = files_[source.file];
    file.DontNeed(static_cast<size_t>(source.bytes.data() - file.bytes().data()),
                  source.bytes.size());
  }
}

void MappedCheckpoint::Replace(std::vector<MadeTensor> made,
                               const std::vector<std::string>& dropped) {
  std::set<std::string> gone(dropped.begin(), dropped.end());
  std::vector<std::pair<std::string, Entry>> entries;
  for (MadeTensor& tensor : made) {
    Entry entry{{}, 0, std::make_shared<Conversion>()};
    entry.view.dtype = tensor.dtype;
    entry.view.rank = static_cast<int>(tensor.shape.size());
    std::copy(tensor.shape.begin(), tensor.shape.end(), entry.view.shape.begin());
    const std::optional<uint64_t> bytes = TensorBytes(tensor.dtype, tensor.shape);
    Check(bytes.has_value(), "a tensor that is made has a size");
    entry.view.bytes = {static_cast<const std::byte*>(nullptr), static_cast<size_t>(*bytes)};
    entry.conversion->make = std::move(tensor.make);
    for (const std::string& part : tensor.parts) {
      const auto fp8 = fp8_.find(part);
      if (fp8 != fp8_.end()) {
        entry.conversion->sources.push_back({fp8->second.file, fp8->second.tensor.bytes});
      } else {
        const Entry& source = tensors_.at(part);
        entry.conversion->sources.push_back({source.file, source.view.bytes});
      }
      gone.insert(part);
    }
    entry.file = entry.conversion->sources.front().file;
    entry.conversion->where =
        fmt::format("{}:{}", files_[entry.file].path(), Printable(tensor.name));
    entries.emplace_back(std::move(tensor.name), std::move(entry));
  }
  std::erase_if(names_, [&](const std::string& name) { return gone.contains(name); });
  for (const std::string& name : gone) {
    tensors_.erase(name);
    fp8_.erase(name);
  }
  for (auto& [name, entry] : entries) {
    names_.push_back(name);
    const std::string where = entry.conversion->where;
    if (!tensors_.try_emplace(name, std::move(entry)).second)
      Throw(ErrorCode::kCorrupt, "tensor name: expected once, found again, in {}", where);
  }
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
  AddParsed(std::move(file), std::move(parsed));
}

void MappedCheckpoint::AddParsed(MappedFile file, SafetensorsFile parsed) {
  for (Fp8Tensor& tensor : parsed.fp8) {
    const std::string name = tensor.name;
    if (tensors_.contains(name) ||
        !fp8_.try_emplace(name, Fp8Entry{std::move(tensor), files_.size()}).second)
      Throw(ErrorCode::kCorrupt, "tensor name: expected once, found again, in {}:{}", file.path(),
            Printable(name));
  }
  AddFile(std::move(file), std::move(parsed.tensors));
}

std::vector<Fp8Tensor> MappedCheckpoint::Fp8Tensors() const {
  std::vector<Fp8Tensor> tensors;
  for (const auto& [name, entry] : fp8_) tensors.push_back(entry.tensor);
  return tensors;
}

void MappedCheckpoint::RefuseFp8() const {
  if (fp8_.empty()) return;
  const auto& [name, entry] = *fp8_.begin();
  Throw(ErrorCode::kUnsupported,
        "tensor dtype: expected F32, F16, BF16 or I32, found F8_E4M3 without a quantization_config "
        "of fp8, in {}:{}",
        files_[entry.file].path(), Printable(name));
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
    std::vector<std::string> names;
    for (const auto& [name, view] : parsed.tensors) names.push_back(name);
    for (const Fp8Tensor& tensor : parsed.fp8) names.push_back(tensor.name);
    for (const std::string& name : names) {
      const auto mapped = shard_of.find(name);
      if (mapped == shard_of.end() || mapped->second != shard)
        Throw(ErrorCode::kCorrupt, "weight_map: expected {}, found {}, in {}:{}", shard,
              mapped == shard_of.end() ? "nothing" : Printable(mapped->second), index_path,
              Printable(name));
    }
    AddParsed(std::move(file), std::move(parsed));
  }
  for (const auto& [name, shard] : shard_of)
    if (Look(name) == nullptr && !fp8_.contains(name))
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

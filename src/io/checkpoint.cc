// SPDX-License-Identifier: Apache-2.0
// OpenCheckpoint: what is at a path, told from its content, and the reader for it.
#include "io/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest_path.h"
#include "base/strings.h"
#include "io/gguf.h"
#include "io/hf_dir.h"
#include "io/mapped_checkpoint.h"
#include "io/mistral_dir.h"
#include "io/sniff.h"

namespace mixtral {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListed = 12;     // names shown in an error
constexpr size_t kMaxEntries = 4096;  // of a folder that is searched for GGUF files

fs::file_type TypeOf(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found || path.empty())
    Throw(ErrorCode::kNotFound, "no such file or folder: {}{}", Printable(path, 4096),
          NearestPathHint(path));
  if (error) Throw(ErrorCode::kIo, "cannot look at {}: {}", path, error.message());
  return status.type();
}

std::vector<fs::path> ListFolder(const std::string& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (const fs::directory_iterator end; !error && it != end && entries.size() < kMaxEntries;
       it.increment(error))
    entries.push_back(it->path());
  if (error) Throw(ErrorCode::kIo, "cannot list {}: {}", folder, error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::string NamesText(const std::vector<fs::path>& entries) {
  if (entries.empty()) return "nothing";
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(entries.size(), kMaxListed); ++i)
    names.push_back(Printable(entries[i].filename().string()));
  if (entries.size() > kMaxListed)
    names.push_back(fmt::format("and {} more", entries.size() - kMaxListed));
  return Join(names, ", ");
}

/// The GGUF models among the entries; a split set counts once, as its first file.
std::vector<fs::path> GgufModels(const std::vector<fs::path>& entries) {
  std::set<fs::path> models;
  for (const fs::path& entry : entries) {
    std::error_code ignored;
    if (!fs::is_regular_file(entry, ignored)) continue;
    if (Sniff(ReadHead(entry.string())) != ContentKind::kGguf) continue;
    models.insert(SplitSibling(entry.string(), 0).value_or(entry.string()));
  }
  return {models.begin(), models.end()};
}

std::string_view PyTorchHint(const std::vector<fs::path>& entries) {
  for (const fs::path& entry : entries) {
    const std::string extension = entry.extension().string();
    if (extension == ".pth" || extension == ".pt" || extension == ".bin")
      return " (PyTorch weights are read from consolidated.00.pth or .pt and its siblings alone)";
  }
  return "";
}

std::unique_ptr<Checkpoint> OpenFolder(const std::string& folder) {
  const bool is_mistral = IsMistralFolder(folder);
  if (IsHuggingFaceFolder(folder)) {
    if (is_mistral)
      Log(LogLevel::kInfo, "{} has Hugging Face and Mistral weights: taking Hugging Face's",
          folder);
    return OpenHuggingFaceFolder(folder);
  }
  if (is_mistral) return OpenMistralFolder(folder);
  const std::vector<fs::path> entries = ListFolder(folder);
  const std::vector<fs::path> models = GgufModels(entries);
  if (models.size() == 1) return OpenGguf(models.front().string());
  if (models.size() > 1)
    Throw(ErrorCode::kInvalidArgument,
          "which model: expected one GGUF model in {}, found {}; name the file", folder,
          NamesText(models));
  Throw(ErrorCode::kNotFound,
        "model: expected config.json with model.safetensors (or its index), params.json with "
        "consolidated.safetensors or consolidated.00.pth, or a GGUF file, found {}{}, in {}",
        NamesText(entries), PyTorchHint(entries), folder);
}

/// A single safetensors or PyTorch file has no config: its folder does, if it is a weight file of
/// that folder.
std::unique_ptr<Checkpoint> OpenFolderOf(const std::string& path) {
  const fs::path file(path);
  const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  std::unique_ptr<Checkpoint> checkpoint;
  if (IsMistralFolder(folder) && file.filename().string().starts_with("consolidated")) {
    checkpoint = OpenMistralFolder(folder);
  } else if (IsHuggingFaceFolder(folder)) {
    checkpoint = OpenHuggingFaceFolder(folder);
  } else {
    Throw(ErrorCode::kNotFound,
          "config: expected config.json (or params.json) with its weights beside the file, found "
          "none, in {}",
          folder);
  }
  const std::string file_prefix = (fs::path(folder) / file.filename()).string() + ":";
  for (const std::string& name : checkpoint->Names())
    if (checkpoint->Where(name).starts_with(file_prefix)) return checkpoint;
  Throw(ErrorCode::kInvalidArgument,
        "weights: expected a file of the model in {}, found {}, which is not one of them", folder,
        path);
}

std::unique_ptr<Checkpoint> OpenFile(const std::string& path) {
  const ContentKind kind = Sniff(ReadHead(path));
  if (kind == ContentKind::kGguf) return OpenGguf(path);
  const bool is_torch =
      kind == ContentKind::kZip && fs::path(path).filename().string().starts_with("consolidated.");
  if (kind == ContentKind::kSafetensors || is_torch) return OpenFolderOf(path);
  const MappedFile readable(path);  // a file that cannot be read is told as such
  Throw(ErrorCode::kUnsupported,
        "content: expected a GGUF file or a model folder, found what looks like {}, in {}{}",
        ContentKindText(kind), path,
        kind == ContentKind::kJson ? " (give its folder instead)" : "");
}

std::unique_ptr<Checkpoint> OpenAnything(const std::string& path) {
  switch (TypeOf(path)) {
    case fs::file_type::directory:
      return OpenFolder(path);
    case fs::file_type::regular:
      return OpenFile(path);
    default:
      Throw(ErrorCode::kInvalidArgument,
            "path: expected a file or a folder, found a device, pipe or socket, at {}", path);
  }
}

}  // namespace

std::string_view CheckpointKindName(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kHuggingFace:
      return "Hugging Face safetensors";
    case CheckpointKind::kMistral:
      return "Mistral safetensors";
    case CheckpointKind::kGguf:
      break;
  }
  return "GGUF";
}

std::unique_ptr<Checkpoint> OpenCheckpoint(const std::string& path, const OpenOptions& options) {
  std::unique_ptr<Checkpoint> checkpoint = OpenAnything(path);
  checkpoint->HoldWeights(options);
  return checkpoint;
}

}  // namespace mixtral

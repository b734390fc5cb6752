// SPDX-License-Identifier: Apache-2.0
// One GGUF file, or the files of a split set, as a checkpoint. The first file of a set has the
// metadata; each has tensors of its own.
#include <filesystem>

#include "base/error.h"
#include "base/strings.h"
#include "io/gguf.h"
#include "io/mapped_checkpoint.h"

namespace mixtral {
namespace {

constexpr size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";
constexpr int kMaxSplit = 4096;

bool AreDigits(std::string_view text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789") == std::string_view::npos;
}

class GgufCheckpoint : public MappedCheckpoint {
 public:
  explicit GgufCheckpoint(const std::string& path) : MappedCheckpoint(CheckpointKind::kGguf, path) {
    MappedFile file(path);
    GgufFile parsed = ParseGguf(file.bytes(), path);
    if (parsed.split_count <= 1) {
      TakeMetadata(&parsed);
      AddFile(std::move(file), std::move(parsed.tensors));
    } else {
      AddSet(path, parsed.split_count);
    }
  }

  const GgufVocabulary* gguf_vocabulary() const override {
    return vocabulary_ ? &*vocabulary_ : nullptr;
  }
  std::optional<std::string> chat_template() const override {
    const std::optional<Json> value = config().Find("tokenizer.chat_template");
    return value ? std::optional<std::string>(value->AsString()) : std::nullopt;
  }

 private:
  void TakeMetadata(GgufFile* parsed) {
    SetConfig(std::move(parsed->metadata));
    vocabulary_ = std::move(parsed->vocabulary);
  }
  void AddSet(const std::string& path, int count);
  void AddMember(const std::string& path, int index, int count);

  std::optional<GgufVocabulary> vocabulary_;
  std::optional<int64_t> expected_tensors_;
};

void GgufCheckpoint::AddSet(const std::string& path, int count) {
  if (count > kMaxSplit)
    Throw(ErrorCode::kUnsupported, "split.count: expected at most {}, found {}, in {}", kMaxSplit,
          count, path);
  for (int index = 0; index < count; ++index) {
    const std::optional<std::string> member = SplitSibling(path, index);
    if (!member)
      Throw(ErrorCode::kNotFound,
            "split GGUF: expected a name like NAME-00001-of-{:05}.gguf to find its {} files by, "
            "found {}",
            count, count, path);
    if (!FileExists(*member))
      Throw(ErrorCode::kNotFound, "split GGUF: expected file {} of {} at {}, found no such file",
            index + 1, count, *member);
    AddMember(*member, index, count);
  }
  const auto found = static_cast<int64_t>(Names().size());
  if (expected_tensors_ && *expected_tensors_ != found)
    Throw(ErrorCode::kCorrupt,
          "split.tensors.count: expected {} tensors in {} files, found {}, in {}",
          *expected_tensors_, count, found, path);
}

void GgufCheckpoint::AddMember(const std::string& path, int index, int count) {
  MappedFile file(path);
  GgufFile parsed = ParseGguf(file.bytes(), path);
  if (parsed.split_index != index || parsed.split_count != count)
    Throw(ErrorCode::kCorrupt, "split.no: expected file {} of {}, found {} of {}, in {}", index + 1,
          count, parsed.split_index + 1, parsed.split_count, path);
  if (index == 0) {
    expected_tensors_ = parsed.split_tensors;
    TakeMetadata(&parsed);
  }
  AddFile(std::move(file), std::move(parsed.tensors));
}

}  // namespace

std::optional<std::string> SplitSibling(const std::string& path, int index) {
  const std::filesystem::path full(path);
  const std::string name = full.filename().string();
  const size_t of = name.rfind(kOf);
  if (of == std::string::npos || of < kDigits + 1 || name[of - kDigits - 1] != '-' ||
      !AreDigits(std::string_view(name).substr(of - kDigits, kDigits)) ||
      !AreDigits(std::string_view(name).substr(of + kOf.size(), kDigits)))
    return std::nullopt;
  const std::string sibling =
      fmt::format("{}{:05}{}", name.substr(0, of - kDigits), index + 1, name.substr(of));
  return (full.parent_path() / sibling).string();
}

std::unique_ptr<Checkpoint> OpenGguf(const std::string& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace mixtral

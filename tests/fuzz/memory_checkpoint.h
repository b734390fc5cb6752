// SPDX-License-Identifier: Apache-2.0
// A parsed GGUF file as a checkpoint without a file, so that the loader meets fuzzed shapes, types
// and metadata.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/gguf.h"

namespace mixtral::fuzz {

class MemoryCheckpoint final : public Checkpoint {
 public:
  explicit MemoryCheckpoint(GgufFile file) : file_(std::move(file)) {
    for (const auto& [name, view] : file_.tensors) views_[name] = &view;
  }
  MemoryCheckpoint(const MemoryCheckpoint&) = delete;
  MemoryCheckpoint& operator=(const MemoryCheckpoint&) = delete;

  CheckpointKind kind() const override { return CheckpointKind::kGguf; }
  const std::string& path() const override { return path_; }
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, view] : file_.tensors) names.push_back(name);
    return names;
  }
  const TensorView* Find(std::string_view name) const override {
    const auto found = views_.find(name);
    return found == views_.end() ? nullptr : found->second;
  }
  std::string Where(std::string_view) const override { return path_; }
  const Json& config() const override { return file_.metadata; }
  std::optional<Json> generation_config() const override { return std::nullopt; }
  std::optional<std::string> sentencepiece_model() const override { return std::nullopt; }
  const GgufVocabulary* gguf_vocabulary() const override {
    return file_.vocabulary ? &*file_.vocabulary : nullptr;
  }
  std::optional<std::string> chat_template() const override { return std::nullopt; }
  uint64_t FileBytes() const override { return 0; }

 private:
  GgufFile file_;
  std::string path_ = "input";
  std::map<std::string, const TensorView*, std::less<>> views_;
};

}  // namespace mixtral::fuzz

// SPDX-License-Identifier: Apache-2.0
// A checkpoint in memory for the unit tests of this module: tensors are made by name and shape, and
// can be taken away or replaced. Nothing of io/ is needed to build a wrong one.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.h"

namespace mixtral::testing {

class FakeCheckpoint final : public Checkpoint {
 public:
  FakeCheckpoint(CheckpointKind kind, Json config) : kind_(kind), config_(std::move(config)) {}

  /// Adds or replaces a tensor of zeros.
  void Put(const std::string& name, DType dtype, const std::vector<int64_t>& shape) {
    Stored& stored = tensors_[name];
    stored.view = {};
    stored.view.dtype = dtype;
    stored.view.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), stored.view.shape.begin());
    const int64_t blocks = stored.view.Elements() / Info(dtype).block_elements;
    stored.bytes.resize(static_cast<size_t>(blocks) * static_cast<size_t>(Info(dtype).block_bytes));
    stored.view.bytes = stored.bytes;
  }
  /// A tensor of any claimed size: only its first bytes are there, and must not be looked beyond.
  void Claim(const std::string& name, DType dtype, const std::vector<int64_t>& shape) {
    static const std::array<std::byte, 64> kFirstBytes{};
    TensorView& view = tensors_[name].view;
    view = {};
    view.dtype = dtype;
    view.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), view.shape.begin());
    const size_t size =
        RowBytes(dtype, shape.back()) * static_cast<size_t>(view.Elements() / shape.back());
    view.bytes = {kFirstBytes.data(), size};
  }
  void Drop(const std::string& name) { tensors_.erase(name); }
  void SetConfig(std::string_view key, Json value) { config_.Set(key, std::move(value)); }

  CheckpointKind kind() const override { return kind_; }
  const std::string& path() const override { return path_; }
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, stored] : tensors_) names.push_back(name);
    return names;
  }
  const TensorView* Find(std::string_view name) const override {
    const auto it = tensors_.find(std::string(name));
    return it == tensors_.end() ? nullptr : &it->second.view;
  }
  std::string Where(std::string_view name) const override {
    return path_ + "/shard-1:" + std::string(name);
  }
  const Json& config() const override { return config_; }
  std::optional<Json> generation_config() const override { return std::nullopt; }
  std::optional<std::string> sentencepiece_model() const override { return std::nullopt; }
  const GgufVocabulary* gguf_vocabulary() const override { return nullptr; }
  std::optional<std::string> chat_template() const override { return std::nullopt; }
  uint64_t FileBytes() const override { return 0; }

 private:
  struct Stored {
    TensorView view;
    std::vector<std::byte> bytes;
  };
  CheckpointKind kind_;
  Json config_;
  std::string path_ = "fake-model";
  std::map<std::string, Stored> tensors_;
};

}  // namespace mixtral::testing

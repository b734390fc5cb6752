// SPDX-License-Identifier: Apache-2.0
// Token shard folders for tests, written as docs/training-data.md says.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "train/token_shards.h"

namespace mixtral::train {

/// A folder that is there for one test.
class TestFolder {
 public:
  explicit TestFolder(const std::string& name)
      : path_((std::filesystem::temp_directory_path() /
               ("mixtral-train-" + name + "-" + std::to_string(::getpid())))
                  .string()) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void WriteRaw(const std::string& path, const void* data, size_t n) {
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(data), static_cast<std::streamsize>(n));
}

struct TestShard {
  std::string name, domain = "en", split = "train", part;
  std::vector<Document> documents;
};

inline void WriteShards(const std::string& folder, const std::string& kind, int vocab_size,
                        const std::vector<TestShard>& shards) {
  std::filesystem::create_directories(folder);
  Json list = Json::Array();
  for (const TestShard& shard : shards) {
    std::vector<uint16_t> tokens;
    std::vector<uint64_t> offsets = {0};
    std::vector<uint8_t> mask;
    for (const Document& document : shard.documents) {
      tokens.insert(tokens.end(), document.tokens.begin(), document.tokens.end());
      mask.insert(mask.end(), document.loss.begin(), document.loss.end());
      offsets.push_back(tokens.size());
    }
    const std::string base = folder + "/" + shard.name;
    WriteRaw(base + ".bin", tokens.data(), tokens.size() * 2);
    WriteRaw(base + ".idx", offsets.data(), offsets.size() * 8);
    if (kind != "text") WriteRaw(base + ".mask", mask.data(), mask.size());
    Json entry = Json::Object().Set("name", shard.name).Set("domain", shard.domain);
    entry.Set("split", shard.split).Set("n_tokens", static_cast<int64_t>(tokens.size()));
    entry.Set("n_documents", static_cast<int64_t>(shard.documents.size()));
    const auto hash = [](const auto& values) {
      return Sha256Hex(
          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values.front())});
    };
    entry.Set("bin_sha256", hash(tokens)).Set("idx_sha256", hash(offsets));
    if (kind != "text") entry.Set("mask_sha256", hash(mask));
    if (!shard.part.empty()) entry.Set("part", shard.part);
    list.Push(entry);
  }
  WriteRaw(folder + "/tokenizer.model", "pieces", 6);
  Json json = Json::Object().Set("format", "mixtral-token-shards").Set("version", 1);
  json.Set("kind", kind).Set("token_dtype", "u16").Set("vocab_size", vocab_size);
  json.Set("bos_id", 1).Set("eos_id", 2).Set("shards", list);
  json.Set("tokenizer", Json::Object().Set("file", "tokenizer.model").Set("sha256", "00"));
  const std::string text = json.Dump(2);
  WriteRaw(folder + "/shards.json", text.data(), text.size());
}

/// A document of a language that can be learnt: each token follows from the one before, with some
/// noise. loss: the second half counts, for sft and preference data.
inline Document MakeDocument(int length, int vocab_size, uint64_t seed, bool masked) {
  const CounterRng rng(seed, 77);
  Document document;
  document.tokens.push_back(1);
  for (int t = 1; t < length; ++t) {
    const auto n = static_cast<uint64_t>(t);
    const bool noise = rng.Uniform(2 * n) < 0.1;
    const int next = (document.tokens.back() * 5 + 3) % (vocab_size - 3) + 3;
    document.tokens.push_back(
        noise ? 3 + static_cast<int>(rng.Bits(2 * n + 1) % static_cast<uint64_t>(vocab_size - 3))
              : next);
  }
  if (masked) {
    document.loss.assign(document.tokens.size(), 0);
    for (size_t t = document.tokens.size() / 2; t < document.tokens.size(); ++t)
      document.loss[t] = 1;
  }
  return document;
}

inline std::vector<Document> MakeDocuments(int n, int length, uint64_t seed, bool masked) {
  std::vector<Document> documents;
  for (int i = 0; i < n; ++i)
    documents.push_back(
        MakeDocument(length + i % 7, 64, seed * 1000 + static_cast<uint64_t>(i), masked));
  return documents;
}

inline void WriteTextShards(const std::string& folder) {
  WriteShards(folder, "text", 64,
              {{"en-train-0", "en", "train", "", MakeDocuments(20, 20, 1, false)},
               {"en-train-1", "en", "train", "", MakeDocuments(20, 11, 2, false)},
               {"de-train-0", "de", "train", "", MakeDocuments(15, 30, 3, false)},
               {"en-heldout-0", "en", "heldout", "", MakeDocuments(4, 25, 4, false)}});
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// Hashes are taken while writing, so nothing is read back.
#include "data/shard_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/error.h"
#include "base/sha256.h"

namespace mixtral::data {
namespace {

/// A file that is hashed while it is written.
class HashedFile {
 public:
  explicit HashedFile(std::string path)
      : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb"), &std::fclose) {
    if (!file_) Fail();
  }
  void Write(std::span<const std::byte> bytes) {
    hash_.Update(bytes);
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) Fail();
  }
  /// Flushed to disk and moved. Returns the sha256.
  std::string MoveTo(const std::string& path) {
    if (std::fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) Fail();
    file_.reset();
    std::error_code error;
    std::filesystem::rename(path_, path, error);
    if (error) Throw(ErrorCode::kIo, "{}: cannot be renamed: {}", path_, error.message());
    return Hex(hash_.Finish());
  }

 private:
  [[noreturn]] void Fail() const {
    Throw(ErrorCode::kIo, "{}: cannot be written: {}", path_, std::strerror(errno));
  }

  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  Sha256 hash_;
};

}  // namespace

class ShardWriter::OpenShard {
 public:
  OpenShard(const ShardWriter& writer, ShardInfo info)
      : writer_(writer), info_(std::move(info)), bin_(Work(".bin")), idx_(Work(".idx")) {
    if (writer.set_.HasMask()) mask_ = std::make_unique<HashedFile>(Work(".mask"));
    WriteIndex();
  }
  void Add(const Document& document) {
    Check(!document.tokens.empty(), "a document without tokens");
    Check(!mask_ || document.mask.size() == document.tokens.size(), "a mask of another length");
    const size_t token_bytes = writer_.set_.TokenBytes();
    buffer_.resize(document.tokens.size() * token_bytes);
    for (size_t i = 0; i < document.tokens.size(); ++i) {
      const auto id = static_cast<uint32_t>(document.tokens[i]);
      std::memcpy(buffer_.data() + i * token_bytes, &id, token_bytes);
    }
    bin_.Write(buffer_);
    if (mask_) mask_->Write(std::as_bytes(std::span(document.mask)));
    info_.n_loss_tokens +=
        static_cast<uint64_t>(std::count(document.mask.begin(), document.mask.end(), 1));
    info_.n_tokens += document.tokens.size();
    ++info_.n_documents;
    WriteIndex();
  }
  uint64_t n_tokens() const { return info_.n_tokens; }
  ShardInfo Finish() {
    info_.bin_sha256 = bin_.MoveTo(Final(".bin"));
    info_.idx_sha256 = idx_.MoveTo(Final(".idx"));
    if (mask_) info_.mask_sha256 = mask_->MoveTo(Final(".mask"));
    return std::move(info_);
  }

 private:
  std::string Work(const char* ending) const {
    return writer_.work_folder_ + "/" + info_.name + ending;
  }
  std::string Final(const char* ending) const {
    return writer_.folder_ + "/" + info_.name + ending;
  }
  void WriteIndex() { idx_.Write(std::as_bytes(std::span(&info_.n_tokens, 1))); }

  const ShardWriter& writer_;
  ShardInfo info_;
  HashedFile bin_, idx_;
  std::unique_ptr<HashedFile> mask_;
  std::vector<std::byte> buffer_;
};

ShardWriter::ShardWriter(ShardSet set, std::string work_folder, std::string folder,
                         uint64_t max_shard_tokens)
    : set_(std::move(set)),
      work_folder_(std::move(work_folder)),
      folder_(std::move(folder)),
      max_shard_tokens_(max_shard_tokens) {}

ShardWriter::~ShardWriter() = default;

void ShardWriter::Open(const Key& key, Series* series, size_t n_parts) {
  for (size_t i = 0; i < n_parts; ++i) {
    ShardInfo info = {.domain = key.first, .split = key.second};
    if (n_parts == 2) info.part = i == 0 ? Part::kChosen : Part::kRejected;
    info.name = fmt::format("{}-{}-{:05}{}{}", key.first, SplitName(key.second), series->n_shards,
                            n_parts == 2 ? "-" : "", PartName(info.part));
    series->parts.push_back(std::make_unique<OpenShard>(*this, std::move(info)));
  }
  ++series->n_shards;
}

void ShardWriter::Close(Series* series) {
  for (const auto& part : series->parts) series->done.push_back(part->Finish());
  series->parts.clear();
}

void ShardWriter::Add(const std::string& domain, Split split, std::span<const Document> documents) {
  Check(documents.size() == (set_.kind == ShardKind::kPreference ? 2 : 1), "parts of a row");
  const Key key = {domain, split};
  Series& series = series_[key];
  if (series.parts.empty()) Open(key, &series, documents.size());
  bool is_full = false;
  for (size_t i = 0; i < documents.size(); ++i) {
    series.parts[i]->Add(documents[i]);
    is_full |= series.parts[i]->n_tokens() >= max_shard_tokens_;
  }
  if (is_full) Close(&series);
}

ShardSet ShardWriter::Finish(const std::vector<std::string>& domains) {
  for (const std::string& domain : domains) {
    for (const Split split : {Split::kTrain, Split::kHeldout}) {
      const auto it = series_.find({domain, split});
      if (it == series_.end()) continue;
      Close(&it->second);
      set_.shards.insert(set_.shards.end(), it->second.done.begin(), it->second.done.end());
    }
  }
  return std::move(set_);
}

}  // namespace mixtral::data

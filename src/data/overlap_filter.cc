// SPDX-License-Identifier: Apache-2.0
// A sorted list of 64-bit hashes: half a million items of 13-grams are a few hundred MB as nodes
// and a few dozen as this.
#include "data/overlap_filter.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "data/row_reader.h"
#include "data/words.h"

namespace mixtral::data {
namespace {

void AddStrings(const Json& value, OverlapFilter* filter) {
  if (value.IsString()) {
    filter->AddText(value.AsString());
  } else if (value.IsArray()) {
    for (size_t i = 0; i < value.Size(); ++i) AddStrings(value.At(i), filter);
  } else if (value.IsObject()) {
    for (const std::string& key : value.Keys())
      if (const auto member = value.Find(key)) AddStrings(*member, filter);
  }
}

}  // namespace

void OverlapFilter::AddFiles(const std::string& path) {
  const std::vector<InputFile> files = ListInputs({"exclude=" + path});
  RowReader reader(&files);
  while (const auto row = reader.Next()) {
    const InputFile& file = files[row->file_idx];
    if (!row->problem.empty())
      Throw(ErrorCode::kInvalidArgument, "{}:{}: {}", file.path, row->line, row->problem);
    if (file.kind == FileKind::kText) {
      AddText(row->bytes);
    } else {
      AddStrings(Json::Parse(row->bytes, fmt::format("{}:{}", file.path, row->line)), this);
    }
  }
}

void OverlapFilter::AddText(std::string_view text) {
  const std::vector<uint64_t> words = WordHashes(text);
  if (words.size() < kOverlapWords) {
    n_short_ += words.empty() ? 0 : 1;
    return;
  }
  const std::vector<uint64_t> grams = GramHashes(words, kOverlapWords);
  grams_.insert(grams_.end(), grams.begin(), grams.end());
}

void OverlapFilter::Finish() {
  std::sort(grams_.begin(), grams_.end());
  grams_.erase(std::unique(grams_.begin(), grams_.end()), grams_.end());
}

bool OverlapFilter::Overlaps(const std::vector<uint64_t>& words) const {
  if (grams_.empty()) return false;
  const std::vector<uint64_t> grams = GramHashes(words, kOverlapWords);
  return std::any_of(grams.begin(), grams.end(), [this](uint64_t gram) {
    return std::binary_search(grams_.begin(), grams_.end(), gram);
  });
}

uint64_t OverlapFilter::Fingerprint() const {
  uint64_t hash = grams_.size();
  for (const uint64_t gram : grams_) hash = MixBits(hash + gram);
  return hash;
}

}  // namespace mixtral::data

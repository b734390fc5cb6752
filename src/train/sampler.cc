// SPDX-License-Identifier: Apache-2.0
// Domains are drawn by weight; within a domain documents come in a new random order each epoch and
// are laid one after the other.
#include "train/sampler.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"

namespace mixtral::train {
namespace {

constexpr uint64_t kDomainStream = 0xD0;

uint64_t NameHash(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// Tokens [first, first + n) of a document; the first is context and never predicted.
Document Piece(const Document& document, int64_t first, int64_t n) {
  Document piece;
  piece.tokens.assign(document.tokens.begin() + first, document.tokens.begin() + first + n);
  if (!document.loss.empty()) {
    piece.loss.assign(document.loss.begin() + first, document.loss.begin() + first + n);
    piece.loss[0] = 0;
  }
  return piece;
}

/// One document in the place of several: attention and loss go across.
Window Joined(const Window& window) {
  Document all;
  for (const Document& document : window)
    all.tokens.insert(all.tokens.end(), document.tokens.begin(), document.tokens.end());
  return {std::move(all)};
}

}  // namespace

Sampler::Sampler(const TokenShards& shards, const std::string& split, SamplerOptions options)
    : shards_(shards), options_(std::move(options)) {
  const std::vector<std::string> domains = shards.Domains(split);
  for (const auto& [domain, weight] : options_.weights) {
    if (std::find(domains.begin(), domains.end(), domain) == domains.end())
      Throw(ErrorCode::kInvalidArgument, "weights: expected a domain of the data ({}), found '{}'",
            fmt::join(domains, ", "), Printable(domain));
  }
  const bool pairs = shards.kind() == ShardKind::kPreference;
  for (const std::string& domain : domains) {
    Cursor cursor;
    cursor.domain = domain;
    cursor.documents = &shards.Set(domain, split, pairs ? "chosen" : "");
    if (pairs) cursor.partners = &shards.Set(domain, split, "rejected");
    const auto it = options_.weights.find(domain);
    cursor.weight = it != options_.weights.end() ? it->second
                    : options_.weights.empty()   ? static_cast<double>(cursor.documents->n_tokens())
                                                 : 0;
    if (cursor.weight <= 0) continue;
    Shuffle(&cursor);
    cursors_.push_back(std::move(cursor));
  }
  if (cursors_.empty())
    Throw(ErrorCode::kInvalidArgument,
          "data: expected documents in split '{}' with a weight, found none", split);
}

void Sampler::Shuffle(Cursor* cursor) const {
  cursor->order.resize(static_cast<size_t>(cursor->documents->n_documents()));
  std::iota(cursor->order.begin(), cursor->order.end(), int64_t{0});
  const CounterRng rng(options_.seed ^ NameHash(cursor->domain),
                       static_cast<uint64_t>(cursor->epoch));
  for (size_t i = cursor->order.size(); i > 1; --i)
    std::swap(cursor->order[i - 1], cursor->order[rng.Bits(i) % i]);
}

void Sampler::Advance(Cursor* cursor) const {
  cursor->offset = 0;
  if (++cursor->next < cursor->documents->n_documents()) return;
  cursor->next = 0;
  ++cursor->epoch;
  Shuffle(cursor);
}

Window Sampler::TextWindow(Cursor* cursor) const {
  Window window;
  int64_t left = options_.window;
  while (left > 1) {
    const Document document = cursor->documents->Read(Take(cursor));
    const auto length = static_cast<int64_t>(document.tokens.size());
    const int64_t n = std::min(left, length - cursor->offset);
    window.push_back(Piece(document, cursor->offset, n));
    left -= n;
    if (cursor->offset + n == length) {
      Advance(cursor);
    } else {
      cursor->offset += n - 1;  // the last token is the context of the next piece
    }
  }
  return options_.cross_documents ? Joined(window) : window;
}

Window Sampler::SftWindow(Cursor* cursor) const {
  Window window;
  int64_t left = options_.window;
  while (left > 1) {
    Document document = cursor->documents->Read(Take(cursor));
    const auto length = static_cast<int64_t>(document.tokens.size());
    if (length > left && !window.empty()) break;  // it opens the next window
    document = Piece(document, 0, std::min(left, length));
    left -= static_cast<int64_t>(document.tokens.size());
    window.push_back(std::move(document));
    Advance(cursor);
  }
  return window;
}

Window Sampler::PairWindow(Cursor* cursor) const {
  Window window;
  const int64_t index = Take(cursor);
  for (const DocumentSet* side : {cursor->documents, cursor->partners}) {
    const Document document = side->Read(index);
    window.push_back(Piece(
        document, 0, std::min(options_.window, static_cast<int64_t>(document.tokens.size()))));
  }
  Advance(cursor);
  return window;
}

int64_t Sampler::Take(Cursor* cursor) const {
  return cursor->order[static_cast<size_t>(cursor->next)];
}

Window Sampler::Next() {
  const double total =
      std::accumulate(cursors_.begin(), cursors_.end(), 0.0,
                      [](double sum, const Cursor& cursor) { return sum + cursor.weight; });
  double point =
      CounterRng(options_.seed, kDomainStream).Uniform(static_cast<uint64_t>(n_drawn_++)) * total;
  size_t chosen = 0;
  while (chosen + 1 < cursors_.size() && point >= cursors_[chosen].weight)
    point -= cursors_[chosen++].weight;
  Cursor* cursor = &cursors_[chosen];
  switch (shards_.kind()) {
    case ShardKind::kText:
      return TextWindow(cursor);
    case ShardKind::kSft:
      return SftWindow(cursor);
    case ShardKind::kPreference:
      return PairWindow(cursor);
  }
  return {};
}

int64_t Sampler::Epochs() const {
  int64_t least = cursors_.front().epoch;
  for (const Cursor& cursor : cursors_) least = std::min(least, cursor.epoch);
  return least;
}

Json Sampler::State() const {
  Json domains = Json::Object();
  for (const Cursor& cursor : cursors_) {
    Json one = Json::Object();
    one.Set("epoch", cursor.epoch).Set("next", cursor.next).Set("offset", cursor.offset);
    one.Set("n_documents", cursor.documents->n_documents());
    domains.Set(cursor.domain, one);
  }
  return Json::Object().Set("n_drawn", n_drawn_).Set("domains", domains);
}

void Sampler::Restore(const Json& state) {
  n_drawn_ = state.At("n_drawn").AsInt(0);
  const Json domains = state.At("domains");
  if (domains.Size() != cursors_.size())
    Throw(ErrorCode::kCorrupt, "{}: expected the {} domains of the data, found {}", domains.path(),
          cursors_.size(), domains.Size());
  for (Cursor& cursor : cursors_) {
    const Json one = domains.At(cursor.domain);
    const int64_t n_documents = cursor.documents->n_documents();
    if (one.At("n_documents").AsInt() != n_documents)
      Throw(ErrorCode::kCorrupt, "{}: expected {} documents (the data), found {}", one.path(),
            n_documents, one.At("n_documents").AsInt());
    cursor.epoch = one.At("epoch").AsInt(0);
    cursor.next = one.At("next").AsInt(0, n_documents - 1);
    Shuffle(&cursor);
    const auto length = static_cast<int64_t>(cursor.documents->Read(Take(&cursor)).tokens.size());
    cursor.offset = one.At("offset").AsInt(0, length - 1);
  }
}

std::vector<Window> HeldOutWindows(const TokenShards& shards, const std::string& domain,
                                   const SamplerOptions& options, int64_t n) {
  const DocumentSet& set = shards.Set(domain, "heldout");
  std::vector<Window> windows;
  Window window;
  int64_t left = options.window;
  for (int64_t i = 0; i < set.n_documents() && static_cast<int64_t>(windows.size()) < n; ++i) {
    const Document document = set.Read(i);
    const auto length = static_cast<int64_t>(document.tokens.size());
    for (int64_t first = 0; first + 1 < length;) {
      const int64_t take = std::min(left, length - first);
      window.push_back(Piece(document, first, take));
      left -= take;
      first += first + take == length ? take : take - 1;
      if (left > 1) continue;
      windows.push_back(std::exchange(window, {}));
      left = options.window;
      if (static_cast<int64_t>(windows.size()) == n) break;
    }
  }
  if (!window.empty() && static_cast<int64_t>(windows.size()) < n)
    windows.push_back(std::move(window));
  return windows;
}

}  // namespace mixtral::train

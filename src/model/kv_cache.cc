// SPDX-License-Identifier: Apache-2.0
// Page bookkeeping: a stack of free pages, a use count per page, a page list per sequence. The
// lists get their capacity at construction, so that nothing allocates while decoding.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {

namespace {

int64_t PagesFor(int64_t positions, int page_positions) {
  return positions / page_positions + (positions % page_positions != 0 ? 1 : 0);
}

void CheckOptions(const KvCacheOptions& options) {
  if (options.dtype != DType::kF32 && options.dtype != DType::kF16)
    Throw(ErrorCode::kUnsupported, "cache type: expected F32 or F16, found {}",
          Name(options.dtype));
  if (options.page_positions <= 0 || options.page_positions % 64 != 0)
    Throw(ErrorCode::kInvalidArgument, "cache page: expected a multiple of 64 positions, found {}",
          options.page_positions);
  if (options.n_positions <= 0)
    Throw(ErrorCode::kInvalidArgument, "cache: expected at least 1 position, found {}",
          options.n_positions);
  if (options.max_sequences <= 0)
    Throw(ErrorCode::kInvalidArgument, "cache: expected at least 1 sequence, found {}",
          options.max_sequences);
}

}  // namespace

size_t KvCache::BytesPerPosition(const ModelConfig& config, DType dtype) {
  return static_cast<size_t>(config.n_layers) * static_cast<size_t>(config.n_kv_heads) * 2 *
         RowBytes(dtype, config.head_dim);
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options, Backend* backend)
    : backend_(backend),
      options_(options),
      n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim) {
  CheckOptions(options);
  const int64_t n_pages = PagesFor(options.n_positions, options.page_positions);
  const auto positions = static_cast<size_t>(options.page_positions);
  const size_t per_position = BytesPerPosition(config, options.dtype);
  const size_t limit = std::numeric_limits<size_t>::max() / 2;
  if (n_pages > std::numeric_limits<int32_t>::max() ||
      static_cast<size_t>(n_pages) > limit / positions / per_position)
    Throw(ErrorCode::kOutOfMemory, "cache of {} positions: {} bytes each are more than fits",
          options.n_positions, per_position);
  n_pages_ = static_cast<int32_t>(n_pages);
  page_bytes_ = positions * (per_position / static_cast<size_t>(n_layers_));
  layer_bytes_ = page_bytes_ * static_cast<size_t>(n_pages_);

  page_uses_.assign(static_cast<size_t>(n_pages_), 0);
  free_pages_.reserve(static_cast<size_t>(n_pages_));
  for (int32_t page = n_pages_; page > 0; --page) free_pages_.push_back(page - 1);
  sequences_.resize(static_cast<size_t>(options.max_sequences));
  const int64_t longest = PagesFor(config.max_context, options.page_positions);
  for (Sequence& sequence : sequences_)
    sequence.pages.reserve(static_cast<size_t>(std::min(n_pages, longest)));
  memory_ = backend_->AllocCache(TotalBytes());  // last: nothing after it throws
}

KvCache::~KvCache() { backend_->FreeCache(memory_); }

std::optional<SeqId> KvCache::Open() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].open) continue;
    sequences_[i].open = true;
    sequences_[i].length = 0;
    sequences_[i].pages.clear();
    return static_cast<SeqId>(i);
  }
  return std::nullopt;
}

bool KvCache::Reserve(SeqId seq, int64_t n_tokens) {
  Check(n_tokens >= 0, "Reserve: a negative number of tokens");
  Sequence& sequence = Get(seq);
  if (n_tokens > TotalPositions() - sequence.length) return false;
  if (PagesToReserve(seq, n_tokens) > FreePages()) return false;

  const auto wanted =
      static_cast<size_t>(PagesFor(sequence.length + n_tokens, options_.page_positions));
  if (n_tokens > 0 && LastPageIsShared(sequence)) {
    int32_t& page = sequence.pages[PageOf(sequence.length)];
    const int32_t shared = page;
    page = TakePage();
    CopyPage(shared, page);
    DropPage(shared);
  }
  while (sequence.pages.size() < wanted) sequence.pages.push_back(TakePage());
  return true;
}

void KvCache::Commit(SeqId seq, int64_t n_tokens) {
  Sequence& sequence = Get(seq);
  Check(n_tokens >= 0 && CanHold(seq, n_tokens), "Commit: more tokens than were reserved");
  sequence.length += n_tokens;
}

std::optional<SeqId> KvCache::Fork(SeqId seq) {
  Get(seq);
  const std::optional<SeqId> fork = Open();
  if (!fork) return std::nullopt;
  Sequence& to = Get(*fork);
  const Sequence& from = Get(seq);
  to.length = from.length;
  const auto used = static_cast<std::ptrdiff_t>(PagesFor(from.length, options_.page_positions));
  to.pages.assign(from.pages.begin(), from.pages.begin() + used);
  for (const int32_t page : to.pages) ++page_uses_[static_cast<size_t>(page)];
  return fork;
}

void KvCache::Truncate(SeqId seq, int64_t n_tokens) {
  Sequence& sequence = Get(seq);
  Check(n_tokens >= 0 && n_tokens <= sequence.length, "Truncate: longer than the sequence");
  sequence.length = n_tokens;
  const auto used = static_cast<size_t>(PagesFor(n_tokens, options_.page_positions));
  while (sequence.pages.size() > used) {
    DropPage(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

void KvCache::Release(SeqId seq) {
  Truncate(seq, 0);
  Get(seq).open = false;
}

int64_t KvCache::Length(SeqId seq) const { return Get(seq).length; }

bool KvCache::CanHold(SeqId seq, int64_t n_tokens) const {
  const Sequence& sequence = Get(seq);
  const auto wanted =
      static_cast<size_t>(PagesFor(sequence.length + n_tokens, options_.page_positions));
  return wanted <= sequence.pages.size() && (n_tokens == 0 || !LastPageIsShared(sequence));
}

int64_t KvCache::FreePositions() const {
  return static_cast<int64_t>(free_pages_.size()) * options_.page_positions;
}

int64_t KvCache::PagesToReserve(SeqId seq, int64_t n_tokens) const {
  const Sequence& sequence = Get(seq);
  const int64_t wanted = PagesFor(sequence.length + n_tokens, options_.page_positions);
  const int64_t missing = std::max<int64_t>(0, wanted - std::ssize(sequence.pages));
  return missing + (n_tokens > 0 && LastPageIsShared(sequence) ? 1 : 0);
}

int32_t KvCache::PageAt(SeqId seq, int64_t page_idx) const {
  const Sequence& sequence = Get(seq);
  Check(page_idx >= 0 && page_idx * options_.page_positions < sequence.length,
        "PageAt: the page of a committed position");
  return sequence.pages[static_cast<size_t>(page_idx)];
}

int KvCache::PageUses(int32_t page) const {
  Check(page >= 0 && page < n_pages_, "PageUses: no such page");
  return page_uses_[static_cast<size_t>(page)];
}

void KvCache::KeepPage(int32_t page) {
  Check(PageUses(page) > 0, "KeepPage: a free page holds nothing");
  ++page_uses_[static_cast<size_t>(page)];
}

void KvCache::Attach(SeqId seq, std::span<const int32_t> pages) {
  Sequence& sequence = Get(seq);
  const auto n = static_cast<int64_t>(pages.size());
  Check(std::ssize(sequence.pages) * options_.page_positions == sequence.length,
        "Attach: a sequence that ends where a page ends, with nothing reserved");
  Check(std::ssize(sequence.pages) + n <= n_pages_, "Attach: more pages than there are");
  for (const int32_t page : pages) {
    KeepPage(page);
    sequence.pages.push_back(page);
  }
  sequence.length += n * options_.page_positions;
}

void KvCache::ReplacePage(SeqId seq, int64_t page_idx, int32_t page) {
  Check((page_idx + 1) * options_.page_positions <= Length(seq), "ReplacePage: a full page");
  KeepPage(page);
  DropPage(std::exchange(Get(seq).pages[static_cast<size_t>(page_idx)], page));
}

KvView KvCache::View(int layer, SeqId seq) const {
  Check(layer >= 0 && layer < n_layers_, "View: no such layer");
  KvView view;
  view.dtype = options_.dtype;
  view.page_positions = options_.page_positions;
  view.n_kv_heads = n_kv_heads_;
  view.head_dim = head_dim_;
  view.pages = Get(seq).pages.data();
  view.layer_base = memory_ + static_cast<size_t>(layer) * layer_bytes_;
  view.page_bytes = page_bytes_;
  return view;
}

size_t KvCache::TotalBytes() const { return layer_bytes_ * static_cast<size_t>(n_layers_); }

int64_t KvCache::TotalPositions() const { return int64_t{n_pages_} * options_.page_positions; }

KvCache::Sequence& KvCache::Get(SeqId seq) {
  return const_cast<Sequence&>(static_cast<const KvCache&>(*this).Get(seq));
}

const KvCache::Sequence& KvCache::Get(SeqId seq) const {
  Check(seq >= 0 && static_cast<size_t>(seq) < sequences_.size(), "no such sequence");
  const Sequence& sequence = sequences_[static_cast<size_t>(seq)];
  Check(sequence.open, "the sequence is not open");
  return sequence;
}

size_t KvCache::PageOf(int64_t position) const {
  return static_cast<size_t>(position / options_.page_positions);
}

// Forks share only pages that hold entries, so of the pages that will be written only the one that
// is partly filled can be shared.
bool KvCache::LastPageIsShared(const Sequence& sequence) const {
  if (sequence.length % options_.page_positions == 0) return false;
  const int32_t page = sequence.pages[PageOf(sequence.length)];
  return page_uses_[static_cast<size_t>(page)] > 1;
}

int32_t KvCache::TakePage() {
  Check(!free_pages_.empty(), "no free page: Reserve counted wrong");
  const int32_t page = free_pages_.back();
  free_pages_.pop_back();
  page_uses_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvCache::DropPage(int32_t page) {
  Check(PageUses(page) > 0, "a free page was dropped");
  int32_t& uses = page_uses_[static_cast<size_t>(page)];
  if (--uses == 0) free_pages_.push_back(page);
}

void KvCache::CopyPage(int32_t from, int32_t to) {
  for (int layer = 0; layer < n_layers_; ++layer) {
    std::byte* base = memory_ + static_cast<size_t>(layer) * layer_bytes_;
    std::memcpy(base + static_cast<size_t>(to) * page_bytes_,
                base + static_cast<size_t>(from) * page_bytes_, page_bytes_);
  }
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// A step in its parts: list what wants to be computed, plan, take places and pages, run, take in
// what came out, tell. The request's side of a step is in service_rows.cc.
#include "engine/service_loop.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace mixtral {
namespace {

constexpr size_t kCandidates = 16;  // waiting sequences that are looked at for one step

double SecondsSince(ServiceClock::time_point start) {
  return std::chrono::duration<double>(ServiceClock::now() - start).count();
}

StepSizes SizesOf(const Engine& engine, const ServiceOptions& options, int max_output_rows) {
  return {.max_rows = options.step_tokens,
          .max_output_rows = max_output_rows,
          .vocab_size = engine.config().vocab_size,
          .dim = engine.config().dim};
}

int64_t PagesOf(const ServiceOptions& options, const KvCache& kv) {
  if (options.prefix_bytes == 0) return kv.TotalPages();
  const size_t page_bytes = kv.TotalBytes() / static_cast<size_t>(kv.TotalPages());
  return static_cast<int64_t>(options.prefix_bytes / page_bytes);
}

}  // namespace

bool ServiceLoop::Better::operator()(const Lane* a, const Lane* b) const {
  const int x = a->owner->request.priority, y = b->owner->request.priority;
  return x != y ? x < y : a->order < b->order;
}

ServiceLoop::ServiceLoop(Engine* engine, const ServiceOptions& options, ForwardFunction forward)
    : engine_(engine),
      options_(options),
      kv_(engine->config(),
          {.dtype = options.kv_dtype,
           .n_positions = options.cache_positions,
           .max_sequences = options.max_running},
          &engine->backend()),
      prefixes_(&kv_, PagesOf(options, kv_)),
      watch_(engine->config(), options.max_running),
      runner_(std::move(forward), &kv_,
              SizesOf(*engine, options, engine->transformer().options().max_logit_rows)),
      scheduler_(
          {.step_rows = options.step_tokens,
           .every_row_rows = engine->transformer().options().max_logit_rows - options.max_running,
           .max_running = options.max_running,
           .page_positions = kv_.page_positions()}),
      scratch_(static_cast<size_t>(engine->config().vocab_size)) {
  const auto n = static_cast<size_t>(options.max_running);
  running_.reserve(n);
  items_.reserve(n + kCandidates);
  item_lanes_.reserve(n + kCandidates);
  rows_.reserve(n);
  hits_.resize(kCandidates);
  for (PrefixCache::Hit& hit : hits_) hit.pages.reserve(static_cast<size_t>(kv_.TotalPages()));
}

void ServiceLoop::Add(std::unique_ptr<LiveRequest> request) {
  // Choices of a request stand together; there are at most kMaxChoices.
  next_order_ += static_cast<uint64_t>(request->request.n);
  const uint64_t order = next_order_ - static_cast<uint64_t>(request->request.n);
  request->lanes.push_back(std::make_unique<Lane>(
      request.get(), Choice(*engine_, &request->request, 0, options_.context), order));
  waiting_.insert(request->lanes.front().get());
  const RequestId id = request->id;
  requests_[id] = std::move(request);
}

void ServiceLoop::Cancel(RequestId id) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;
  ++stats_.cancelled_total;
  Stop(it->second.get(), FinishReason::kCancelled);
  Tell();
}

void ServiceLoop::CancelAll() {
  for (const auto& [id, request] : requests_) {
    ++stats_.cancelled_total;
    Stop(request.get(), FinishReason::kCancelled);
  }
  Tell();
}

void ServiceLoop::Step() {
  const auto start = ServiceClock::now();
  MakePlan();
  BeginPlanned();
  EndExpired();
  if (begun_.requests > 0 && on_stats) on_stats();  // there is room in the queue before the step
  ReservePlanned();
  RunPlanned();
  for (const Rows& rows : rows_) Take(rows);
  int n_streams = 0, n_rows = 0;
  for (const Rows& rows : rows_) {
    n_rows += rows.n_rows;
    n_streams += rows.n_rows == 1 ? 1 : 0;
  }
  const double seconds = SecondsSince(start);
  cost_.Record(n_streams, n_rows - n_streams, seconds);
  stats_.steps.rows.Add(n_rows);
  stats_.steps.seconds.Add(seconds);
  ++stats_.steps_total;
  Tell();
}

/// A prompt scored from some token on is computed like any other up to there.
void ServiceLoop::DescribeRows(const Lane& lane, SchedItem* item) const {
  const LiveRequest& owner = *lane.owner;
  const ServiceRequest& request = owner.request;
  item->pending = std::ssize(lane.choice.tokens()) - item->length;
  if (owner.prompt_done) return;
  item->every_row = request.prompt_logprobs || request.pooling == HiddenPooling::kMean;
  if (request.pooling != HiddenPooling::kMean)
    item->plain_rows = std::max<int64_t>(0, request.logprobs_from - 1 - item->length);
}

SchedItem ServiceLoop::RunningItem(const Lane& lane) const {
  const int64_t length = kv_.Length(lane.seq), page = kv_.page_positions();
  SchedItem item = {.priority = lane.owner->request.priority,
                    .order = lane.order,
                    .running = true,
                    .length = length,
                    .held_pages = (length + page - 1) / page,
                    .shared_tail = length % page != 0 && kv_.PagesToReserve(lane.seq, 1) > 0};
  DescribeRows(lane, &item);
  return item;
}

/// The last token is always computed: its logits are wanted.
SchedItem ServiceLoop::WaitingItem(const Lane& lane, PrefixCache::Hit* hit) {
  const LiveRequest& owner = *lane.owner;
  const std::vector<TokenId>& tokens = lane.choice.tokens();
  int64_t limit = std::ssize(tokens) - 1;
  if (!owner.prompt_done) limit = std::min(limit, std::max(lane.reported, owner.FirstWantedRow()));
  if (!owner.request.use_prefix_cache) limit = 0;
  prefixes_.Find(owner.request.policy, tokens, limit, hit);
  SchedItem item = {.priority = owner.request.priority,
                    .order = lane.order,
                    .length = std::ssize(hit->pages) * kv_.page_positions(),
                    .idle_found_pages = hit->idle_pages};
  DescribeRows(lane, &item);
  return item;
}

void ServiceLoop::ListItems() {
  items_.clear();
  item_lanes_.clear();
  for (Lane* lane : running_) {
    items_.push_back(RunningItem(*lane));
    item_lanes_.push_back(lane);
  }
  const bool full = std::ssize(running_) == options_.max_running;
  const size_t n = std::min(waiting_.size(), full ? 1 : kCandidates);
  auto it = waiting_.begin();
  for (size_t i = 0; i < n; ++i, ++it) {
    items_.push_back(WaitingItem(**it, &hits_[i]));
    item_lanes_.push_back(*it);
  }
}

void ServiceLoop::MakePlan() {
  for (;;) {
    ListItems();
    const auto n_streams =
        static_cast<int>(std::count_if(items_.begin(), items_.end(), [](const SchedItem& item) {
          return item.running && item.pending == 1;
        }));
    plan_ = &scheduler_.Plan(items_, kv_.FreePages() + prefixes_.IdlePages(),
                             cost_.PromptRows(n_streams, options_.prefill_tokens));
    if (plan_->preempt < 0) return;
    Preempt(item_lanes_[static_cast<size_t>(plan_->preempt)]);
  }
}

/// Before anything is reserved, so that no page that was found is evicted for it.
void ServiceLoop::BeginPlanned() {
  const size_t n_running = running_.size();
  for (size_t i = n_running; i < items_.size(); ++i) {
    if (plan_->rows[i] == 0) continue;
    Lane* lane = item_lanes_[i];
    LiveRequest& owner = *lane->owner;
    const std::optional<SeqId> seq = kv_.Open();
    Check(seq.has_value(), "the plan keeps to the number of sequences");
    waiting_.erase(lane);
    running_.push_back(lane);
    lane->seq = *seq;
    prefixes_.Use(hits_[i - n_running], *seq);
    if (owner.started) continue;
    owner.started = ServiceClock::now();
    owner.usage.cached_tokens = items_[i].length;
    ++begun_.requests;
    begun_.tokens += std::ssize(owner.request.prompt);
    stats_.cached_tokens_total += items_[i].length;
    if (owner.request.use_prefix_cache) {
      stats_.prefix_queries_total += std::ssize(owner.request.prompt);
      stats_.prefix_hits_total += items_[i].length;
    }
  }
}

/// Those that could not begin in this step and have waited for too long; told with its news.
void ServiceLoop::EndExpired() {
  if (options_.queue_seconds == 0) return;
  const auto oldest = ServiceClock::now() - std::chrono::duration<double>(options_.queue_seconds);
  std::vector<LiveRequest*> expired;  // stopping takes them out of the set
  for (const Lane* lane : waiting_)
    if (!lane->owner->started && lane->owner->submitted < oldest) expired.push_back(lane->owner);
  for (LiveRequest* request : expired) {
    request->event.waited_too_long = true;
    ++stats_.expired_total;
    Stop(request, FinishReason::kCancelled);
  }
}

void ServiceLoop::ReservePlanned() {
  for (size_t i = 0; i < items_.size(); ++i) {
    const int n_rows = plan_->rows[i];
    if (n_rows == 0) continue;
    const SeqId seq = item_lanes_[i]->seq;
    Check(prefixes_.MakeFree(kv_.PagesToReserve(seq, n_rows)) && kv_.Reserve(seq, n_rows),
          "the plan keeps to the free pages");
  }
}

void ServiceLoop::RunPlanned() {
  runner_.Clear();
  rows_.clear();
  for (size_t i = 0; i < items_.size(); ++i)
    if (plan_->rows[i] > 0) AddRows(item_lanes_[i], plan_->rows[i]);
  runner_.Run(&watch_);
}

void ServiceLoop::Place(Lane* lane, SeqId parent) {
  const std::optional<SeqId> seq = kv_.Fork(parent);
  if (!seq) {
    waiting_.insert(lane);
    return;
  }
  lane->seq = *seq;
  running_.push_back(lane);
}

void ServiceLoop::Leave(Lane* lane) {
  if (lane->seq < 0) {
    waiting_.erase(lane);
    return;
  }
  running_.erase(std::find(running_.begin(), running_.end(), lane));
  kv_.Release(lane->seq);
  watch_.Forget(lane->seq);
  lane->seq = -1;
}

void ServiceLoop::Preempt(Lane* lane) {
  Leave(lane);
  waiting_.insert(lane);
  ++lane->owner->usage.preemptions;
  ++stats_.preemptions_total;
}

/// Ends what is left of a request, for everybody to hear with the next Tell.
void ServiceLoop::Stop(LiveRequest* request, FinishReason reason) {
  if (!request->started) {
    ++begun_.requests;
    begun_.tokens += std::ssize(request->request.prompt);
  }
  for (const auto& lane : request->lanes) {
    if (lane->choice.finish()) continue;
    lane->choice.End(reason, &request->DeltaOf(lane->choice.index()));
    Leave(lane.get());
  }
  if (!request->prompt_done)
    for (int i = 1; i < request->request.n; ++i) request->DeltaOf(i).finish = reason;
  request->prompt_done = true;
}

ServiceStats ServiceLoop::Stats() const {
  ServiceStats stats = stats_;
  const int64_t page = kv_.page_positions();
  stats.running = std::ssize(running_);
  stats.waiting = std::ssize(waiting_);
  stats.cache_positions = kv_.TotalPages() * page;
  stats.cache_reusable = prefixes_.IdlePages() * page;
  stats.cache_used = (kv_.TotalPages() - kv_.FreePages()) * page - stats.cache_reusable;
  const RoutingCounters& counters = watch_.counters();
  stats.expert_tokens = counters.expert_tokens;
  stats.first_repeats = counters.first_repeats;
  stats.either_repeats = counters.either_repeats;
  stats.routed_pairs = counters.routed_pairs;
  return stats;
}

/// A request whose callback throws is nobody's any more: it goes on silently to be stopped.
void ServiceLoop::Tell() {
  const auto now = ServiceClock::now();
  news_.clear();
  for (auto it = requests_.begin(); it != requests_.end();) {
    LiveRequest* request = it->second.get();
    if (!request->has_news) {
      ++it;
      continue;
    }
    News& news = news_.emplace_back(News{request, request->TakeEvent(now)});
    news.event.done = request->AllFinished();
    if (!news.event.done) {
      ++it;
      continue;
    }
    ended_.push_back(std::move(it->second));
    it = requests_.erase(it);
  }
  if (news_.empty()) return;
  if (on_stats) on_stats();
  for (News& news : news_) {
    try {
      if (news.request->callback) news.request->callback(std::move(news.event));
    } catch (const std::exception& error) {
      Log(LogLevel::kWarn, "request {}: its callback failed: {}", news.request->id, error.what());
      news.request->callback = {};
      if (!news.event.done) Stop(news.request, FinishReason::kCancelled);
    }
  }
  ended_.clear();
}

}  // namespace mixtral

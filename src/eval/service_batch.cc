// SPDX-License-Identifier: Apache-2.0
// Events come on the service's thread and go into an inbox, which outlives the run as long as a
// callback holds it.
#include "eval/service_batch.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <utility>

#include "base/check.h"
#include "eval/prefix_order.h"

namespace mixtral::eval {
namespace {

constexpr std::chrono::milliseconds kPatience(100);  // between looks at cancel

struct Finished {
  size_t place = 0;
  ServiceAnswer answer;
  std::optional<Error> error;
};

class Inbox {
 public:
  void Add(size_t place, ServiceEvent&& event) {
    {
      const std::lock_guard lock(mutex_);
      Finished& open = open_[place];
      if (!event.prompt_scores.empty()) open.answer.scores = std::move(event.prompt_scores);
      for (ServiceDelta& delta : event.deltas) {
        const auto choice = static_cast<size_t>(delta.choice);
        if (open.answer.texts.size() <= choice) open.answer.texts.resize(choice + 1);
        open.answer.texts[choice] += delta.text;
      }
      if (event.error) open.error = std::move(event.error);
      if (!event.done) return;
      open.place = place;
      finished_.push_back(std::move(open));
      open_.erase(place);
    }
    news_.notify_one();
  }
  std::optional<Finished> Take() {
    std::unique_lock lock(mutex_);
    if (!news_.wait_for(lock, kPatience, [this] { return !finished_.empty(); }))
      return std::nullopt;
    Finished finished = std::move(finished_.front());
    finished_.pop_front();
    return finished;
  }

 private:
  std::mutex mutex_;
  std::condition_variable news_;
  std::map<size_t, Finished> open_;
  std::deque<Finished> finished_;
};

class Run {
 public:
  Run(Service& service, const ServiceBatch& batch)
      : service_(service), batch_(batch), plan_(Plan(batch)), followers_(plan_.order.size()) {
    for (size_t place = 0; place < plan_.order.size(); ++place) {
      const size_t leader = plan_.leader[place];
      if (leader == PrefixOrder::kNone)
        ready_.push(place);
      else
        followers_[leader].push_back(place);
    }
  }
  ~Run() {
    for (const auto& [place, id] : ids_) service_.Cancel(id);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void Go() {
    const auto max_open = static_cast<size_t>(
        std::min(service_.options().max_queued, 2 * service_.options().max_running));
    while (!ready_.empty() || !ids_.empty()) {
      if (IsCancelled()) return;
      while (!ready_.empty() && ids_.size() < max_open && Submit(ready_.top())) ready_.pop();
      if (auto finished = inbox_->Take()) Take(std::move(*finished));
    }
  }

 private:
  static PrefixOrder Plan(const ServiceBatch& batch) {
    const std::vector<std::span<const TokenId>> spans(batch.prompts.begin(), batch.prompts.end());
    return MakePrefixOrder(spans, static_cast<size_t>(KvCacheOptions{}.page_positions));
  }
  bool IsCancelled() const { return batch_.cancel != nullptr && batch_.cancel->load(); }

  /// false: the queue is full for now.
  bool Submit(size_t place) {
    const size_t index = plan_.order[place];
    ServiceRequest request = batch_.make(index);
    request.prompt = batch_.prompts[index];
    RequestId id = 0;
    const auto callback = [inbox = inbox_, place](ServiceEvent&& event) {
      inbox->Add(place, std::move(event));
    };
    const SubmitResult result = service_.Submit(std::move(request), callback, &id);
    Check(result != SubmitResult::kDraining, "nobody else ends the service");
    if (result != SubmitResult::kAccepted) return false;
    ids_[place] = id;
    return true;
  }

  void Take(Finished finished) {
    ids_.erase(finished.place);
    if (finished.error) throw *finished.error;
    for (const size_t follower : followers_[finished.place]) ready_.push(follower);
    batch_.done(plan_.order[finished.place], std::move(finished.answer));
  }

  Service& service_;
  const ServiceBatch& batch_;
  PrefixOrder plan_;
  std::vector<std::vector<size_t>> followers_;  // [place]
  // The first place first: what follows a prompt that is done comes before new beginnings, which
  // could push it out of the cache.
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready_;
  std::map<size_t, RequestId> ids_;  // of those that are open
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
};

}  // namespace

void RunBatch(Service& service, const ServiceBatch& batch) { Run(service, batch).Go(); }

}  // namespace mixtral::eval

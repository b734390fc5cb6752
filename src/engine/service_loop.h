// SPDX-License-Identifier: Apache-2.0
// What the scheduler thread of a service does, without the thread: it holds the requests and the
// cache, and computes one step after the other. Everything here is called on one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/live_request.h"
#include "engine/prefix_cache.h"
#include "engine/routing_watch.h"
#include "engine/scheduler.h"
#include "engine/service.h"
#include "engine/step_cost.h"
#include "engine/step_runner.h"

namespace mixtral {

class ServiceLoop {
 public:
  /// options: with the zeros filled in.
  ServiceLoop(Engine* engine, const ServiceOptions& options, ForwardFunction forward);

  void Add(std::unique_ptr<LiveRequest> request);
  void Cancel(RequestId id);  // of one that is not there: nothing
  void CancelAll();
  bool HasWork() const { return !requests_.empty(); }
  /// One forward step, and the news of it told.
  void Step();

  /// Tokens of the prompts that began since the last call, and their number.
  struct Begun {
    int64_t requests = 0, tokens = 0;
  };
  Begun TakeBegun() { return std::exchange(begun_, {}); }
  /// As of the last step; waiting counts sequences without pages.
  ServiceStats Stats() const;
  size_t CacheBytes() const { return kv_.TotalBytes(); }
  /// Called when the statistics changed and before anybody is told why.
  std::function<void()> on_stats;

 private:
  struct Better {
    bool operator()(const Lane* a, const Lane* b) const;
  };
  /// Rows of a lane in the step.
  struct Rows {
    Lane* lane = nullptr;
    int64_t start = 0;
    int n_rows = 0, n_new = 0;  // the last n_new of them were never computed before
    int n_logits = 0, n_hidden = 0;
    size_t part = 0;  // of runner_
  };
  struct News {
    LiveRequest* request;
    ServiceEvent event;
  };

  void ListItems();
  SchedItem RunningItem(const Lane& lane) const;
  SchedItem WaitingItem(const Lane& lane, PrefixCache::Hit* hit);
  void MakePlan();
  void BeginPlanned();
  void EndExpired();
  void ReservePlanned();
  void RunPlanned();
  void AddRows(Lane* lane, int n_rows);
  void CaptureRouting(const Lane& lane, int64_t n_new);
  void Take(const Rows& rows);
  void RecordPrompt(const Rows& rows, int64_t start);
  void KeepPages(const Lane& lane, int64_t start);
  void FinishPrompt(Lane* lane, std::span<float> logits);
  void Place(Lane* lane, SeqId parent);
  void TakeToken(Lane* lane, std::span<float> logits);
  void Leave(Lane* lane);  // gives pages and place up
  void Preempt(Lane* lane);
  void Stop(LiveRequest* request, FinishReason reason);
  void Tell();
  /// How many rows an item of this length has to compute, and which of them give something.
  void DescribeRows(const Lane& lane, SchedItem* item) const;

  Engine* engine_;
  ServiceOptions options_;
  KvCache kv_;
  PrefixCache prefixes_;
  RoutingWatch watch_;
  StepRunner runner_;
  Scheduler scheduler_;
  StepCost cost_;
  std::map<RequestId, std::unique_ptr<LiveRequest>> requests_;
  std::set<Lane*, Better> waiting_;
  std::vector<Lane*> running_;
  // of the step that is planned
  std::vector<SchedItem> items_;
  std::vector<Lane*> item_lanes_;
  std::vector<PrefixCache::Hit> hits_;  // of the waiting ones among them
  const StepPlan* plan_ = nullptr;
  std::vector<Rows> rows_;
  std::vector<News> news_;
  std::vector<std::unique_ptr<LiveRequest>> ended_;  // until their last news are told
  std::vector<float> scratch_;                       // [V]
  ServiceStats stats_;
  Begun begun_;
  uint64_t next_order_ = 0;
};

}  // namespace mixtral

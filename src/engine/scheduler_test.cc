// SPDX-License-Identifier: Apache-2.0
// The rules one by one, then thousands of random arrivals, cancellations and lengths on a cache
// that is only numbers: budgets, pages and priorities hold in every step, and everybody finishes.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"

namespace mixtral {
namespace {

constexpr SchedLimits kLimits = {.step_rows = 100, .every_row_rows = 10, .max_running = 4};

SchedItem Stream(uint64_t order, int64_t length, int priority = 0) {
  return {.priority = priority,
          .order = order,
          .running = true,
          .length = length,
          .pending = 1,
          .held_pages = (length + 63) / 64};
}
SchedItem Waiting(uint64_t order, int64_t pending, int priority = 0) {
  return {.priority = priority, .order = order, .pending = pending};
}
SchedItem RunningPrompt(uint64_t order, int64_t length, int64_t pending, int priority = 0) {
  SchedItem item = Stream(order, length, priority);
  item.pending = pending;
  return item;
}

struct Answer {
  int preempt;
  std::vector<int> rows;
  friend bool operator==(const Answer& a, const Answer& b) = default;
  friend void PrintTo(const Answer& a, std::ostream* out) {
    *out << "preempt " << a.preempt << ", rows";
    for (const int n : a.rows) *out << " " << n;
  }
};
Answer PlanOf(const std::vector<SchedItem>& items, int64_t free_pages, int prompt_rows = 32,
              const SchedLimits& limits = kLimits) {
  Scheduler scheduler(limits);
  const StepPlan& plan = scheduler.Plan(items, free_pages, prompt_rows);
  return {plan.preempt, plan.rows};
}

TEST(Scheduler, WithoutStreamsThePromptTakesTheWholeStep) {
  EXPECT_EQ(PlanOf({Waiting(1, 500)}, 100), (Answer{-1, {100}}));
  EXPECT_EQ(PlanOf({Waiting(1, 30)}, 100), (Answer{-1, {30}}));
  EXPECT_EQ(PlanOf({}, 100), (Answer{-1, {}}));
}

TEST(Scheduler, StreamsGoInEveryStepAndLimitThePromptSlice) {
  EXPECT_EQ(PlanOf({Stream(1, 10), Stream(2, 10), Waiting(3, 500)}, 100), (Answer{-1, {1, 1, 32}}));
  EXPECT_EQ(PlanOf({Stream(1, 10), Waiting(3, 500)}, 100, 0), (Answer{-1, {1, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10), Waiting(3, 500)}, 100, 1000), (Answer{-1, {1, 99}}));
}

TEST(Scheduler, HalfOfTheSliceIsTheOldestPromptsTheRestTheShortest) {
  EXPECT_EQ(PlanOf({Stream(1, 10), RunningPrompt(2, 64, 400), Waiting(3, 300), Waiting(4, 10)}, 99),
            (Answer{-1, {1, 16, 6, 10}}));
  // What the short ones leave goes back to the oldest.
  EXPECT_EQ(PlanOf({Stream(1, 10), RunningPrompt(2, 64, 400), Waiting(4, 10)}, 99),
            (Answer{-1, {1, 22, 10}}));
  // A shorter one of a worse priority comes after a longer one of a better.
  EXPECT_EQ(PlanOf({RunningPrompt(2, 64, 400), Waiting(3, 60), Waiting(4, 10, 1)}, 99),
            (Answer{-1, {50, 49, 1}}));
}

TEST(Scheduler, BestPriorityFirstThenTheOldest) {
  EXPECT_EQ(PlanOf({Waiting(1, 80, 1), Waiting(2, 300, 0), Waiting(3, 80, 1)}, 100),
            (Answer{-1, {49, 50, 1}}));
}

TEST(Scheduler, NobodyBeginsWithoutASlotOrPastOneWhoCannot) {
  SchedLimits limits = kLimits;
  limits.max_running = 2;
  EXPECT_EQ(PlanOf({Stream(1, 10), Stream(2, 10), Waiting(3, 5)}, 100, 32, limits),
            (Answer{-1, {1, 1, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10), Waiting(2, 5), Waiting(3, 4)}, 100, 32, limits),
            (Answer{-1, {1, 5, 0}}));
  // 4 pages: one promised to the stream, and 3 are too few for 200 positions; 10 would fit.
  EXPECT_EQ(PlanOf({Stream(1, 10), Waiting(2, 200), Waiting(3, 10)}, 4), (Answer{-1, {1, 0, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10), Waiting(2, 200), Waiting(3, 10)}, 5), (Answer{-1, {1, 32, 0}}));
}

TEST(Scheduler, FoundPagesCountOnlyWhenTheyWereFree) {
  SchedItem item = Waiting(2, 10);
  item.length = 256;
  EXPECT_EQ(PlanOf({Stream(1, 10), item}, 2), (Answer{-1, {1, 10}}));
  item.idle_found_pages = 4;
  EXPECT_EQ(PlanOf({Stream(1, 10), item}, 5), (Answer{-1, {1, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10), item}, 6), (Answer{-1, {1, 10}}));
}

TEST(Scheduler, TheWorstOneGivesItsPagesUp) {
  // 64 positions are full: the next row needs a page.
  EXPECT_EQ(PlanOf({Stream(1, 64), Stream(2, 10), Stream(3, 10)}, 0), (Answer{2, {0, 0, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 64), Stream(2, 10, 1), Stream(3, 10)}, 0), (Answer{1, {0, 0, 0}}));
  // The worst itself waits with what it has.
  EXPECT_EQ(PlanOf({Stream(1, 10), Stream(2, 64)}, 0), (Answer{-1, {1, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 64), Stream(2, 64)}, 1), (Answer{-1, {1, 0}}));
  // A prompt makes do with the pages that there are.
  EXPECT_EQ(PlanOf({RunningPrompt(1, 60, 500)}, 1), (Answer{-1, {68}}));
  EXPECT_EQ(PlanOf({RunningPrompt(1, 60, 500), Stream(2, 10)}, 0), (Answer{-1, {4, 1}}));
  EXPECT_EQ(PlanOf({RunningPrompt(1, 64, 500), Stream(2, 10)}, 0), (Answer{1, {0, 0}}));
}

TEST(Scheduler, ASharedTailNeedsAPageForTheCopy) {
  SchedItem item = Stream(1, 10);
  item.shared_tail = true;
  EXPECT_EQ(PlanOf({item, Stream(2, 10)}, 0), (Answer{1, {0, 0}}));
  EXPECT_EQ(PlanOf({item, Stream(2, 10)}, 1), (Answer{-1, {1, 1}}));
}

TEST(Scheduler, ABetterPriorityTakesSlotsAndPagesFromAWorse) {
  SchedLimits limits = kLimits;
  limits.max_running = 2;
  EXPECT_EQ(PlanOf({Stream(1, 10, 1), Stream(2, 10, 2), Waiting(3, 5, 0)}, 100, 32, limits),
            (Answer{1, {0, 0, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10, 1), Waiting(3, 200, 0)}, 4), (Answer{0, {0, 0}}));
  EXPECT_EQ(PlanOf({Stream(1, 10, 0), Waiting(3, 200, 0)}, 4), (Answer{-1, {1, 0}}));
}

TEST(Scheduler, RowsThatNeedLogitsHaveALimitOfTheirOwn) {
  SchedItem scored = Waiting(1, 500), other = Waiting(2, 500);
  scored.every_row = other.every_row = true;
  EXPECT_EQ(PlanOf({scored}, 100), (Answer{-1, {11}}));
  EXPECT_EQ(PlanOf({scored, other}, 100), (Answer{-1, {11, 1}}));
  EXPECT_EQ(PlanOf({scored, Waiting(3, 70)}, 100), (Answer{-1, {11, 70}}));
}

TEST(Scheduler, RowsBeforeThoseThatNeedLogitsGoFreely) {
  SchedItem scored = Waiting(1, 500), other = Waiting(2, 500);
  scored.every_row = other.every_row = true;
  scored.plain_rows = 450;
  EXPECT_EQ(PlanOf({scored}, 100), (Answer{-1, {100}}));
  scored.plain_rows = 60;
  EXPECT_EQ(PlanOf({scored}, 100), (Answer{-1, {71}}));
  EXPECT_EQ(PlanOf({scored, other}, 100), (Answer{-1, {61, 11}}));
}

// A world of numbers: sequences with pages of their own, in a cache of n_pages.
class World {
 public:
  World(const SchedLimits& limits, int64_t n_pages, uint64_t seed)
      : limits_(limits), scheduler_(limits), n_pages_(n_pages), rng_(seed) {}

  void Run(int n_steps, int arrivals_per_100_steps) {
    for (int step = 0; step < n_steps && !::testing::Test::HasFatalFailure(); ++step) {
      if (Random(100) < static_cast<uint64_t>(arrivals_per_100_steps)) Arrive();
      if (Random(50) == 0) Cancel();
      Step();
    }
    for (int step = 0; !jobs_.empty(); ++step) {
      ASSERT_LT(step, 2000000) << "somebody never finishes";
      Step();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  int n_finished() const { return n_finished_; }
  int n_preempted() const { return n_preempted_; }
  int n_by_priority() const { return n_by_priority_; }

 private:
  struct Job {
    SchedItem item;
    int64_t to_generate = 0;
  };
  uint64_t Random(uint64_t n) { return rng_.Bits(counter_++) % n; }
  int64_t PagesFor(int64_t n) const {
    return (n + limits_.page_positions - 1) / limits_.page_positions;
  }
  int64_t Used() const {
    int64_t used = 0;
    for (const auto& [order, job] : jobs_) used += job.item.running ? job.item.held_pages : 0;
    return used;
  }

  void Arrive() {
    const int64_t context = n_pages_ * limits_.page_positions;
    Job job;
    job.item.order = ++next_order_;
    job.item.priority = static_cast<int>(Random(3));
    job.item.pending = 1 + static_cast<int64_t>(Random(Random(8) == 0 ? 700 : 60));
    job.item.pending = std::min(job.item.pending, context);
    job.item.every_row = Random(10) == 0;
    job.item.plain_rows = static_cast<int64_t>(Random(100));
    job.to_generate =
        std::min<int64_t>(static_cast<int64_t>(Random(150)), context - job.item.pending);
    jobs_[next_order_] = job;
  }

  void Cancel() {
    if (jobs_.empty()) return;
    auto it = jobs_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(Random(jobs_.size())));
    jobs_.erase(it);
  }

  // Running items in any order, and the best waiting ones.
  std::vector<SchedItem> Items() {
    std::vector<SchedItem> waiting, items;
    for (const auto& [order, job] : jobs_) (job.item.running ? items : waiting).push_back(job.item);
    std::sort(waiting.begin(), waiting.end(), Better);
    waiting.resize(std::min<size_t>(waiting.size(), 1 + Random(5)));
    items.insert(items.end(), waiting.begin(), waiting.end());
    std::reverse(items.begin(), items.end());
    return items;
  }
  static bool Better(const SchedItem& a, const SchedItem& b) {
    return a.priority != b.priority ? a.priority < b.priority : a.order < b.order;
  }

  void Step() {
    std::vector<SchedItem> items = Items();
    const int prompt_rows = static_cast<int>(Random(40));
    const StepPlan* plan = &scheduler_.Plan(items, n_pages_ - Used(), prompt_rows);
    for (size_t n = 0; plan->preempt >= 0; ++n) {
      ASSERT_LE(n, static_cast<size_t>(limits_.max_running)) << "preempts without end";
      Preempt(items, static_cast<size_t>(plan->preempt));
      items = Items();
      plan = &scheduler_.Plan(items, n_pages_ - Used(), prompt_rows);
    }
    CheckPlan(items, *plan, prompt_rows);
    for (size_t i = 0; i < items.size(); ++i)
      if (plan->rows[i] > 0) Compute(jobs_.at(items[i].order), plan->rows[i]);
    ASSERT_LE(Used(), n_pages_);
    std::erase_if(jobs_, [](const auto& entry) { return entry.second.item.pending == 0; });
  }

  void Preempt(const std::vector<SchedItem>& items, size_t idx) {
    ASSERT_TRUE(items[idx].running);
    bool found_better = false;
    for (const SchedItem& other : items) {
      if (!other.running) {
        n_by_priority_ += other.priority < items[idx].priority ? 1 : 0;
        found_better |= other.priority < items[idx].priority;
      } else if (other.order != items[idx].order) {
        ASSERT_TRUE(Better(other, items[idx])) << "a better one was preempted";
        found_better = true;
      }
    }
    ASSERT_TRUE(found_better) << "preempted for nobody";
    SchedItem& item = jobs_.at(items[idx].order).item;
    item = {.priority = item.priority,
            .order = item.order,
            .every_row = item.every_row,
            .pending = item.length + item.pending};
    ++n_preempted_;
  }

  void CheckPlan(const std::vector<SchedItem>& items, const StepPlan& plan, int prompt_rows) {
    int rows = 0, prompt = 0, streams = 0, running = 0, every = 0;
    ASSERT_EQ(plan.rows.size(), items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      ASSERT_GE(plan.rows[i], 0);
      ASSERT_LE(plan.rows[i], items[i].pending);
      rows += plan.rows[i];
      const bool stream = items[i].running && items[i].pending == 1;
      streams += stream ? 1 : 0;
      if (!stream) prompt += plan.rows[i];
      running += items[i].running || plan.rows[i] > 0 ? 1 : 0;
      const int64_t n_plain = items[i].plain_rows + 1;
      if (items[i].every_row && plan.rows[i] > n_plain)
        every += plan.rows[i] - static_cast<int>(n_plain);
    }
    ASSERT_LE(rows, limits_.step_rows);
    ASSERT_LE(running, limits_.max_running);
    ASSERT_LE(every, limits_.every_row_rows);
    if (streams > 0) {
      ASSERT_LE(prompt, prompt_rows);
    }
    if (!items.empty() && (streams == 0 || prompt_rows > 0)) {
      ASSERT_GT(rows, 0) << "nothing moves";
    }
    CheckOrder(items, plan);
    CheckBestMoves(items, plan, prompt_rows);
  }

  // No waiting item begins before a better one.
  static void CheckOrder(const std::vector<SchedItem>& items, const StepPlan& plan) {
    for (size_t i = 0; i < items.size(); ++i)
      for (size_t j = 0; j < items.size(); ++j)
        if (!items[i].running && !items[j].running && plan.rows[i] > 0 && plan.rows[j] == 0) {
          ASSERT_TRUE(Better(items[i], items[j])) << "overtaken";
        }
  }

  // The best of all moves in every step: that is why nobody waits for ever.
  void CheckBestMoves(const std::vector<SchedItem>& items, const StepPlan& plan, int prompt_rows) {
    if (items.empty()) return;
    const auto best = std::min_element(items.begin(), items.end(), Better);
    const bool stream = best->running && best->pending == 1;
    if (!stream && prompt_rows == 0) return;
    ASSERT_GT(plan.rows[static_cast<size_t>(best - items.begin())], 0) << "the best one stands";
  }

  void Compute(Job& job, int rows) {
    SchedItem& item = job.item;
    item.running = true;
    item.length += rows;
    item.pending -= rows;
    item.plain_rows = std::max<int64_t>(0, item.plain_rows - rows);
    item.held_pages = std::max(item.held_pages, PagesFor(item.length));
    if (item.pending > 0) return;
    if (--job.to_generate < 0) {
      ++n_finished_;
      return;
    }
    item.pending = 1;
    item.every_row = false;
  }

  SchedLimits limits_;
  Scheduler scheduler_;
  int64_t n_pages_;
  CounterRng rng_;
  uint64_t counter_ = 0, next_order_ = 0;
  std::map<uint64_t, Job> jobs_;
  int n_finished_ = 0, n_preempted_ = 0, n_by_priority_ = 0;
};

TEST(SchedulerSimulation, ThousandsOfRandomArrivals) {
  int n_preempted = 0, n_by_priority = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const SchedLimits limits = {.step_rows = seed % 2 == 0 ? 64 : 12,
                                .every_row_rows = static_cast<int>(seed % 3) * 8,
                                .max_running = 12,
                                .page_positions = 64};
    World world(limits, seed < 3 ? 16 : 60, seed);
    world.Run(5000, 10);
    if (HasFatalFailure()) return;
    EXPECT_GT(world.n_finished(), 350);
    n_preempted += world.n_preempted();
    n_by_priority += world.n_by_priority();
  }
  EXPECT_GT(n_preempted, 300);
  EXPECT_GT(n_by_priority, 60);
}

}  // namespace
}  // namespace mixtral

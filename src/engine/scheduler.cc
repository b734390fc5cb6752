// SPDX-License-Identifier: Apache-2.0
// The policy in four parts: who may begin (Admit), who gets how many rows (ShareRows), and whether
// the pages are there for it (FitPages); Plan puts them together.
#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace mixtral {

int64_t Scheduler::PagesFor(int64_t positions) const {
  return (positions + limits_.page_positions - 1) / limits_.page_positions;
}

/// Pages that a running item takes for so many more rows.
int64_t Scheduler::PagesToGrow(const SchedItem& item, int64_t rows) const {
  if (rows == 0) return 0;
  return std::max<int64_t>(0, PagesFor(item.length + rows) - item.held_pages) +
         (item.shared_tail ? 1 : 0);
}

bool Scheduler::IsBetter(int a, int b) const {
  const SchedItem& x = items_[static_cast<size_t>(a)];
  const SchedItem& y = items_[static_cast<size_t>(b)];
  return x.priority != y.priority ? x.priority < y.priority : x.order < y.order;
}

int Scheduler::WorstRunning() const { return running_.empty() ? -1 : running_.back(); }

const StepPlan& Scheduler::Plan(std::span<const SchedItem> items, int64_t free_pages,
                                int prompt_rows) {
  items_ = items;
  plan_.preempt = -1;
  plan_.rows.assign(items.size(), 0);
  running_.clear();
  prompts_.clear();
  const auto better = [this](int a, int b) { return IsBetter(a, b); };
  for (int i = 0; i < static_cast<int>(items.size()); ++i) {
    const SchedItem& item = items[static_cast<size_t>(i)];
    Check(item.pending > 0, "scheduler: an item without work");
    (item.running ? running_ : prompts_).push_back(i);
  }
  Check(std::ssize(running_) <= limits_.max_running, "scheduler: more run than may");
  std::sort(running_.begin(), running_.end(), better);
  std::sort(prompts_.begin(), prompts_.end(), better);
  if (!Admit(free_pages)) return plan_;
  ShareRows(prompt_rows);
  if (!FitPages(free_pages)) plan_.rows.assign(items.size(), 0);
  return plan_;
}

/// Keeps in prompts_ those waiting items that could begin now, best first and none past one that
/// cannot, and adds the running prompts. false: a running item of a worse priority must go first.
bool Scheduler::Admit(int64_t free_pages) {
  // What those that run will still take for the tokens they have, and a page each to grow.
  int64_t promised = 0;
  for (const int idx : running_) {
    const SchedItem& item = items_[static_cast<size_t>(idx)];
    promised += PagesToGrow(item, item.pending) + 1;
  }
  n_admitted_ = 0;
  for (const int idx : prompts_) {
    const SchedItem& item = items_[static_cast<size_t>(idx)];
    const int64_t needed =
        PagesFor(item.length + item.pending) - PagesFor(item.length) + item.idle_found_pages;
    const bool fits = running_.size() + n_admitted_ < static_cast<size_t>(limits_.max_running) &&
                      promised + needed <= free_pages;
    if (!fits) {
      const int worst = WorstRunning();
      if (n_admitted_ == 0 && worst >= 0 &&
          items_[static_cast<size_t>(worst)].priority > item.priority)
        plan_.preempt = worst;
      break;
    }
    promised += needed + 1;
    ++n_admitted_;
  }
  if (plan_.preempt >= 0) return false;
  prompts_.resize(n_admitted_);
  for (const int idx : running_)
    if (items_[static_cast<size_t>(idx)].pending > 1) prompts_.push_back(idx);
  std::sort(prompts_.begin(), prompts_.end(), [this](int a, int b) { return IsBetter(a, b); });
  return true;
}

/// Up to `rows` more rows for an item; returns how many it got.
int Scheduler::GiveRows(int idx, int64_t rows) {
  const SchedItem& item = items_[static_cast<size_t>(idx)];
  int& has = plan_.rows[static_cast<size_t>(idx)];
  int64_t n = std::min<int64_t>(rows, item.pending - has);
  // The first such row of an item needs none of the shared allowance: each sequence has one of its
  // own.
  const int64_t free_rows = item.every_row ? std::max<int64_t>(0, item.plain_rows + 1 - has) : n;
  if (item.every_row) n = std::min(n, free_rows + every_row_left_);
  if (n <= 0) return 0;
  every_row_left_ -= static_cast<int>(std::max<int64_t>(0, n - free_rows));
  has += static_cast<int>(n);
  return static_cast<int>(n);
}

/// One row for every stream. Of the prompt rows a half goes to the best prompt, which so always
/// moves on, and one to each of the others, best first: nobody begins before a better one. The rest
/// goes to the shortest of them (of the best priority first), which need not wait for long ones.
void Scheduler::ShareRows(int prompt_rows) {
  every_row_left_ = limits_.every_row_rows;
  int left = limits_.step_rows;
  bool has_streams = false;
  for (const int idx : running_) {
    if (items_[static_cast<size_t>(idx)].pending > 1) continue;
    left -= GiveRows(idx, 1);
    has_streams = true;
  }
  if (prompts_.empty()) return;
  if (has_streams) left = std::min(left, prompt_rows);
  const int best = prompts_.front();
  left -= GiveRows(best, prompts_.size() == 1 ? left : (left + 1) / 2);
  for (size_t i = 1; i < prompts_.size() && left > 0; ++i) left -= GiveRows(prompts_[i], 1);
  std::sort(prompts_.begin() + 1, prompts_.end(), [this](int a, int b) {
    const SchedItem& x = items_[static_cast<size_t>(a)];
    const SchedItem& y = items_[static_cast<size_t>(b)];
    if (x.priority != y.priority) return x.priority < y.priority;
    return x.pending != y.pending ? x.pending < y.pending : x.order < y.order;
  });
  for (size_t i = 1; i < prompts_.size() && left > 0; ++i) left -= GiveRows(prompts_[i], left);
  GiveRows(best, left);
}

/// Takes pages for the rows of running items, best first; a prompt makes do with fewer rows. One
/// that cannot move preempts the worst, or waits when it is the worst itself. Admit has counted all
/// of these and those of the items that begin. false: somebody must go.
bool Scheduler::FitPages(int64_t free_pages) {
  for (const int idx : running_) {
    const SchedItem& item = items_[static_cast<size_t>(idx)];
    int& rows = plan_.rows[static_cast<size_t>(idx)];
    if (rows == 0) continue;
    if (PagesToGrow(item, rows) > free_pages) {
      if (PagesToGrow(item, 1) > free_pages) {
        rows = 0;
        if (idx == WorstRunning()) continue;
        plan_.preempt = WorstRunning();
        return false;
      }
      const int64_t pages = free_pages - (item.shared_tail ? 1 : 0) + item.held_pages;
      rows = static_cast<int>(pages * limits_.page_positions - item.length);
    }
    free_pages -= PagesToGrow(item, rows);
  }
  return true;
}

}  // namespace mixtral

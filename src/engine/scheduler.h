// SPDX-License-Identifier: Apache-2.0
// Which sequences enter the next forward step, and with how many rows. Policy alone: no clock, no
// thread, no model, no cache; the service tells what is, the scheduler says what to do. The rules
// are written out in docs/serving.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mixtral {

/// A sequence that wants to be computed.
struct SchedItem {
  int priority = 0;              // lower is better
  uint64_t order = 0;            // of arrival; breaks ties, no two items have the same
  bool running = false;          // it has pages; otherwise it waits
  bool every_row = false;        // each of its rows needs logits or a hidden state,
  int64_t plain_rows = 0;        // but for so many of the first ones pending
  int64_t length = 0;            // positions in the cache; waiting: those found in the prefix cache
  int64_t pending = 1;           // tokens after them that are known and not computed
  int64_t held_pages = 0;        // running: pages it has
  bool shared_tail = false;      // running: its next row takes one page more, for a copy
  int64_t idle_found_pages = 0;  // waiting: free now, and no longer when it takes what it found
};

struct SchedLimits {
  int step_rows = 512;      // of one step
  int every_row_rows = 64;  // of items with every_row in one step, beside one row of each sequence
  int max_running = 64;     // sequences with pages; at most step_rows
  int page_positions = 64;
};

struct StepPlan {
  /// Index of a running item that must give its pages up; then nothing else is decided: ask again.
  int preempt = -1;
  /// [items]; 0 = not in this step. A waiting item with rows begins to run.
  std::vector<int> rows;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedLimits& limits) : limits_(limits) {}

  /// items: all that run, and those that wait, best first of them (the rest may be left out; an
  /// item is better with a lower priority, then a lower order). free_pages: those that are free
  /// or can be made so. prompt_rows: of all items that begin or have more than one pending token,
  /// when there are streams (running items with one pending token). The plan lives until the next
  /// call. Allocates only when there are more items than ever before.
  const StepPlan& Plan(std::span<const SchedItem> items, int64_t free_pages, int prompt_rows);

 private:
  int64_t PagesFor(int64_t positions) const;
  int64_t PagesToGrow(const SchedItem& item, int64_t rows) const;
  bool IsBetter(int a, int b) const;
  int WorstRunning() const;
  bool Admit(int64_t free_pages);
  void ShareRows(int prompt_rows);
  int GiveRows(int idx, int64_t rows);
  bool FitPages(int64_t free_pages);

  SchedLimits limits_;
  std::span<const SchedItem> items_;
  StepPlan plan_;
  std::vector<int> running_, prompts_;  // indices into items_, best first
  size_t n_admitted_ = 0;
  int every_row_left_ = 0;
};

}  // namespace mixtral

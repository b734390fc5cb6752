// SPDX-License-Identifier: Apache-2.0
// What a run writes while it trains: metrics.jsonl, TensorBoard event files, lines on the terminal,
// and the guard that watches the routers. No LibTorch here. Called by trainer.cc on rank 0.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "spec/config.h"
#include "train/event_file.h"

namespace mixtral::train {

/// Choices of experts, [layer][expert].
using LoadTable = std::vector<std::vector<double>>;

/// Watches the load of the last steps. An expert is dead when it got no token in all of them; a
/// layer has collapsed when the entropy of its load is under half of even load's.
class RouterGuard {
 public:
  explicit RouterGuard(size_t n_steps = 20) : n_steps_(n_steps) {}
  /// Lines about what is new: each alarm is raised once until it clears.
  std::vector<std::string> Add(const LoadTable& load);
  int64_t n_dead() const { return n_dead_; }

 private:
  size_t n_steps_;
  std::deque<LoadTable> recent_;
  std::map<std::string, bool> raised_;
  int64_t n_dead_ = 0;
};

/// Entropy of a layer's load in nats; even load over E experts: log E.
double LoadEntropy(const std::vector<double>& load);

/// Floating-point operations of one token in training: forward, and twice as much backwards. Every
/// weight that a token uses once (K experts, the router, the output matrix; the embedding is a
/// look-up), and the causal half of attention over `context` tokens.
double FlopsPerToken(const ModelConfig& config, int64_t context);

struct StepReport {
  int64_t step = 0, n_steps = 0;
  double loss = 0, ce = 0, balance = 0, z = 0, dpo = 0, margin = 0, accuracy = 0, router_kl = 0;
  double learning_rate = 0, grad_norm = 0, entropy = 0;
  int64_t n_tokens = 0, n_total_tokens = 0;
  double seconds = 0, mfu = 0;
  LoadTable load;
  double n_dropped = 0;
  bool preference = false;
};

struct DomainLoss {
  double loss = 0;
  int64_t n_tokens = 0;
  double margin = 0, accuracy = 0;  // preference data
  LoadTable load;
};

class RunLog {
 public:
  /// Continues metrics.jsonl of `folder`: lines of steps after last_step are removed.
  RunLog(const std::string& folder, int64_t last_step, int64_t log_every);
  void Step(const StepReport& report);
  void Evaluation(int64_t step, const std::map<std::string, DomainLoss>& domains);
  void Note(const std::string& line) const;  // on standard error

 private:
  void Append(const Json& line);
  std::string path_;
  EventFile events_;
  RouterGuard guard_;
  int64_t log_every_;
  int64_t first_step_ = -1;
  double seconds_ = 0;
};

}  // namespace mixtral::train

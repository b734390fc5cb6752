// SPDX-License-Identifier: Apache-2.0
// What experts are worth: perplexity of a text without each expert, and with 1, 2, ... experts for
// every token beside the speed of each. Used by `mixtral routing ablate`.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "observatory/text_run.h"

namespace mixtral::observatory {

struct AblationOptions {
  int max_k = 8;        // top-k from 1 to this, at most the model's number of experts
  int timing_runs = 3;  // decodes of each k whose median counts
  int decode_tokens = 64;
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(int64_t done, int64_t total)> on_progress;
};

/// The engine must take max_k experts a token (EngineOptions) and TextRun::kRows logit rows.
/// windows: each at least 2 tokens. nullopt: cancelled. Throws Error{kUnsupported} for a dense
/// model.
std::optional<Json> MakeAblationReport(Engine* engine, DType kv_type, int64_t window_length,
                                       std::span<const Window> windows,
                                       const AblationOptions& options);
std::string AblationReportText(const Json& report);
std::string AblationPage(const Json& report);

}  // namespace mixtral::observatory

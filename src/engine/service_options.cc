// SPDX-License-Identifier: Apache-2.0
// What the options of a service mean for the engine below it.
#include <algorithm>

#include "engine/service.h"

namespace mixtral {
namespace {

constexpr int kScoredRows = 64;  // of a prompt in one step, beside one row of every sequence

}  // namespace

EngineOptions EngineOptionsFor(const ServiceOptions& options, EngineOptions engine) {
  engine.max_batch_tokens = options.step_tokens;
  engine.max_logit_rows = std::min(options.step_tokens, options.max_running + kScoredRows);
  return engine;
}

}  // namespace mixtral

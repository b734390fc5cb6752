// SPDX-License-Identifier: Apache-2.0
// Many requests through a service, on the caller's thread: as many open as keep it supplied, in an
// order that computes shared beginnings once. What an answer is to a measurement is not known here.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/service.h"

namespace mixtral::eval {

/// All that came of a request.
struct ServiceAnswer {
  std::vector<ScoredToken> scores;  // of its prompt
  std::vector<std::string> texts;   // [n]
};

struct ServiceBatch {
  std::vector<std::vector<TokenId>> prompts;
  /// The rest of request i; its prompt is filled in afterwards.
  std::function<ServiceRequest(size_t index)> make;
  std::function<void(size_t index, ServiceAnswer&& answer)> done;
  const std::atomic<bool>* cancel = nullptr;
};

/// Returns when all are done, or early when cancel is set. Throws what Submit throws, the error of
/// a request that failed, and what `done` throws; then nothing goes on behind.
void RunBatch(Service& service, const ServiceBatch& batch);

}  // namespace mixtral::eval

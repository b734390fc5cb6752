// SPDX-License-Identifier: Apache-2.0
// From prepared prompts to an answer: submits to the service, brings its news to the I/O thread,
// cancels when the client goes, counts. What the answer looks like is an Answer's business.
#pragma once

#include <memory>
#include <vector>

#include "server/http.h"
#include "server/metrics.h"
#include "server/served_model.h"

namespace mixtral::server {

/// What the handlers work with. Lives as long as the server.
struct HandlerContext {
  ServedModel* model = nullptr;
  Metrics* metrics = nullptr;
};

/// One format of answers, whole or as events. On the I/O thread.
class Answer {
 public:
  virtual ~Answer() = default;
  /// The service has taken all requests: an answer in events begins here, before the first token.
  virtual void OnAccepted() {}
  /// News of request_idx (of the prompts that were submitted together).
  virtual void OnEvent(size_t request_idx, ServiceEvent& event) = 0;
  /// All requests are over. usage: of all of them.
  virtual void OnDone(const ServiceUsage& usage) = 0;
  /// An error as the last event, if events were begun; else Generate replies.
  virtual void OnBroken(const HttpError& error) = 0;
  virtual ErrorStyle error_style() const { return ErrorStyle::kOpenAi; }
};

/// Any thread. Throws HttpError 429 (queue full) and 503 (draining), and what Submit throws;
/// nothing is left running then.
void Generate(const ExchangePtr& exchange, const HandlerContext& context,
              std::vector<ServiceRequest> requests, std::unique_ptr<Answer> answer);

/// reply from any thread.
void ReplyFrom(const ExchangePtr& exchange, HttpReply reply);

/// OpenAI's names: "stop", "length".
std::string_view FinishName(FinishReason reason);

}  // namespace mixtral::server

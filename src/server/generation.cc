// SPDX-License-Identifier: Apache-2.0
// The service calls back on its scheduler thread; everything here but Submit runs on the I/O
// thread.
#include "server/generation.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace mixtral::server {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Run : public std::enable_shared_from_this<Run> {
 public:
  Run(ExchangePtr exchange, const HandlerContext& context, std::unique_ptr<Answer> answer)
      : exchange_(std::move(exchange)), context_(context), answer_(std::move(answer)) {}

  void Start(std::vector<ServiceRequest> requests) {
    usages_.resize(requests.size());
    max_tokens_ = requests.empty() ? -1 : requests[0].max_tokens;
    n_open_ = requests.size();
    std::vector<RequestId> ids;
    for (size_t i = 0; i < requests.size(); ++i) {
      RequestId id = 0;
      try {
        Submit(i, std::move(requests[i]), &id);
      } catch (...) {
        for (const RequestId submitted : ids) context_.model->service.Cancel(submitted);
        throw;
      }
      ids.push_back(id);
    }
    exchange_->Post([self = shared_from_this(), ids] { self->OnSubmitted(ids); });
  }

 private:
  void Submit(size_t i, ServiceRequest request, RequestId* id) {
    std::shared_ptr<RoutingTap> tap;
    if (const RoutingSink& sink = context_.model->on_routing) {
      request.return_routing = true;
      tap = std::make_shared<RoutingTap>(request.prompt, &sink);
    }
    const auto callback = [self = shared_from_this(), i, tap](ServiceEvent&& event) {
      if (tap != nullptr) tap->Take(event);
      auto shared = std::make_shared<ServiceEvent>(std::move(event));
      self->exchange_->Post([self, i, shared] { self->Take(i, *shared); });
    };
    const SubmitResult result = context_.model->service.Submit(std::move(request), callback, id);
    if (result == SubmitResult::kAccepted) return;
    const bool is_full = result == SubmitResult::kQueueFull;
    context_.metrics->Rejected(is_full ? "queue_full" : "draining");
    HttpError error(is_full ? 429 : 503,
                    is_full ? "the queue is full, try again later" : "the server is shutting down",
                    "", is_full ? "queue_full" : "");
    error.retry_after = is_full ? 1 : 5;
    throw error;
  }

  void OnSubmitted(const std::vector<RequestId>& ids) {
    is_submitted_ = true;
    if (!exchange_->is_over()) answer_->OnAccepted();
    ids_ = ids;
    exchange_->OnGone([self = shared_from_this()] { self->CancelAll(); });
    for (auto& [i, event] : std::exchange(early_, {})) Take(i, event);
  }

  void Take(size_t i, ServiceEvent& event) {
    if (!is_submitted_) {  // another prompt of the request may yet be refused
      early_.emplace_back(i, std::move(event));
      return;
    }
    if (is_over_) return;
    Count(event);
    usages_[i] = event.usage;
    if (exchange_->is_over()) answer_ = nullptr;  // the client has gone: only the counting goes on
    if (event.waited_too_long) return BreakExpired();
    if (event.error) return Break(*event.error);
    if (answer_ != nullptr) answer_->OnEvent(i, event);
    if (event.done && --n_open_ == 0) Finish();
  }

  void Count(const ServiceEvent& event) {
    for (const ServiceDelta& delta : event.deltas) {
      if (delta.finish) {
        finish_ = FinishReasonName(*delta.finish);
        context_.metrics->ChoiceFinished(finish_);
      }
      if (delta.tokens.empty()) continue;
      auto [last, is_first] = last_token_.try_emplace(delta.choice, Clock::now());
      if (!is_first) context_.metrics->TokenGap(SecondsSince(last->second));
      last->second = Clock::now();
    }
    if (event.done) context_.metrics->Finished(event.usage, SecondsSince(begin_), max_tokens_);
  }

  ServiceUsage Total() const {
    ServiceUsage total;
    for (const ServiceUsage& usage : usages_) {
      total.prompt_tokens += usage.prompt_tokens;
      total.cached_tokens += usage.cached_tokens;
      total.completion_tokens += usage.completion_tokens;
      total.queue_seconds = std::max(total.queue_seconds, usage.queue_seconds);
      total.prefill_seconds += usage.prefill_seconds;
      total.decode_seconds = std::max(total.decode_seconds, usage.decode_seconds);
      total.first_token_seconds = std::max(total.first_token_seconds, usage.first_token_seconds);
    }
    return total;
  }

  void Finish() {
    is_over_ = true;
    const ServiceUsage usage = Total();
    ExchangeFacts& facts = exchange_->facts();
    facts.prompt_tokens = usage.prompt_tokens;
    facts.completion_tokens = usage.completion_tokens;
    facts.finish = finish_;
    if (answer_ != nullptr) answer_->OnDone(usage);
    answer_ = nullptr;
  }

  /// Of requests that are over: nothing.
  void CancelAll() {
    for (const RequestId id : ids_) context_.model->service.Cancel(id);
  }

  void BreakExpired() {
    context_.metrics->Rejected("queue_timeout");
    HttpError failure(503,
                      fmt::format("the request has waited {} seconds for its turn, try again later",
                                  context_.model->service.options().queue_seconds),
                      "", "queue_timeout");
    failure.retry_after = 5;
    BreakWith(failure);
  }

  void Break(const Error& error) {
    HttpError failure = ToHttpError(error);
    if (failure.status() < 500) failure = HttpError(500, error.what());
    BreakWith(failure);
  }

  void BreakWith(const HttpError& failure) {
    is_over_ = true;
    exchange_->facts().finish = "error";
    CancelAll();  // the other prompts of the request
    if (answer_ != nullptr) {
      answer_->OnBroken(failure);
      exchange_->Reply(ErrorReply(failure, answer_->error_style()));  // if no events were begun
    }
    answer_ = nullptr;
  }

  ExchangePtr exchange_;
  HandlerContext context_;
  std::unique_ptr<Answer> answer_;
  std::vector<std::pair<size_t, ServiceEvent>> early_;
  std::vector<RequestId> ids_;
  std::vector<ServiceUsage> usages_;
  std::map<int, Clock::time_point> last_token_;  // by choice
  std::string finish_;
  Clock::time_point begin_ = Clock::now();
  size_t n_open_ = 0;
  int64_t max_tokens_ = -1;
  bool is_submitted_ = false, is_over_ = false;
};

}  // namespace

void Generate(const ExchangePtr& exchange, const HandlerContext& context,
              std::vector<ServiceRequest> requests, std::unique_ptr<Answer> answer) {
  std::make_shared<Run>(exchange, context, std::move(answer))->Start(std::move(requests));
}

void ReplyFrom(const ExchangePtr& exchange, HttpReply reply) {
  exchange->Post([exchange, reply = std::move(reply)] { exchange->Reply(reply); });
}

std::string_view FinishName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
    case FinishReason::kContextFull:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    default:
      return "stop";
  }
}

}  // namespace mixtral::server

// SPDX-License-Identifier: Apache-2.0
// The service's ways in and out: full queues, cancellation in every phase, draining, failures, the
// end of the service. On the model that ships.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <stdexcept>

#include "base/log.h"
#include "engine/service.h"
#include "engine/service_test_support.h"

namespace mixtral {
namespace {

using testing::Outcome;
using testing::Outcomes;
using testing::RunOne;

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
constexpr TokenId kPoison = 3000;

// A forward pass that can be held at a gate, and fails for a token.
class ServiceWays : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << "the model that ships is missing";
    engine_ = std::make_unique<Engine>(kModel, EngineOptionsFor(kOptions, {.threads = 1}));
    Open(kOptions);
  }
  void TearDown() override { OpenGate(); }
  void Open(const ServiceOptions& options) {
    service_ =
        std::make_unique<Service>(engine_.get(), options,
                                  [this](const Batch& batch, KvCache& kv,
                                         const ForwardOutput& output, ForwardObserver* observer) {
                                    Pass();
                                    for (const TokenId token : batch.tokens)
                                      if (token == kPoison)
                                        Throw(ErrorCode::kIo, "expert 3: read failed");
                                    engine_->transformer().Forward(batch, kv, output, observer);
                                  });
  }
  void CloseGate() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void OpenGate() {
    const std::lock_guard lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }
  /// Until a forward step stands at the closed gate.
  void WaitAtGate() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return n_at_gate_ > 0; });
  }
  static ServiceRequest Request(size_t n_prompt, int64_t max_tokens) {
    ServiceRequest request;
    for (size_t i = 0; i < n_prompt; ++i)
      request.prompt.push_back(static_cast<TokenId>(100 + i * 7 % 900));
    request.max_tokens = max_tokens;
    request.sampler.temperature = 0;
    request.ignore_eos = true;
    return request;
  }
  void ExpectIdle() {
    // Of a step that comes after all others: nothing is left by then.
    RunOne(*service_, Request(3, 1));
    const ServiceStats stats = service_->Stats();
    EXPECT_EQ(stats.running, 0);
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.cache_used, 0);
  }

  static constexpr ServiceOptions kOptions = {.context = 512,
                                              .cache_positions = 1024,
                                              .max_running = 2,
                                              .max_queued = 2,
                                              .max_queued_tokens = 600,
                                              .step_tokens = 32};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Service> service_;
  Outcomes outcomes_;

 private:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++n_at_gate_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !closed_; });
    --n_at_gate_;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  int n_at_gate_ = 0;
};

TEST_F(ServiceWays, AFullQueueSaysSo) {
  CloseGate();
  RequestId id = 0;
  ASSERT_EQ(service_->Submit(Request(4, 2), outcomes_.For(0), &id), SubmitResult::kAccepted);
  WaitAtGate();  // it has begun and is in no queue
  ASSERT_EQ(service_->Submit(Request(4, 2), outcomes_.For(1), &id), SubmitResult::kAccepted);
  EXPECT_EQ(service_->Submit(Request(510, 2), outcomes_.For(9), &id), SubmitResult::kAccepted);
  EXPECT_EQ(service_->Submit(Request(4, 2), outcomes_.For(9), &id), SubmitResult::kQueueFull);
  EXPECT_EQ(service_->Stats().waiting, 2);
  service_->Cancel(id);
  OpenGate();
  outcomes_.Wait(0);
  outcomes_.Wait(1);
  ExpectIdle();
  // By tokens; one request alone may have any number.
  CloseGate();
  ASSERT_EQ(service_->Submit(Request(4, 2), outcomes_.For(2), &id), SubmitResult::kAccepted);
  WaitAtGate();
  ASSERT_EQ(service_->Submit(Request(400, 2), outcomes_.For(3), &id), SubmitResult::kAccepted);
  EXPECT_EQ(service_->Submit(Request(400, 2), outcomes_.For(9), &id), SubmitResult::kQueueFull);
  EXPECT_EQ(service_->Submit(Request(100, 2), outcomes_.For(4), &id), SubmitResult::kAccepted);
  OpenGate();
  for (const int key : {2, 3, 4}) EXPECT_EQ(outcomes_.Wait(key).choices.at(0).tokens.size(), 2u);
}

TEST_F(ServiceWays, CancelledInEveryPhase) {
  RequestId queued = 0, prefill = 0, decoding = 0, other = 0;
  // Decoding, and two choices of it.
  ServiceRequest request = Request(20, 400);
  request.n = 2;
  ASSERT_EQ(service_->Submit(request, outcomes_.For(0), &decoding), SubmitResult::kAccepted);
  outcomes_.WaitForEvents(0, 3);
  service_->Cancel(decoding);
  Outcome outcome = outcomes_.Wait(0);
  for (const int choice : {0, 1}) {
    EXPECT_EQ(outcome.choices.at(choice).finish, FinishReason::kCancelled);
    EXPECT_LT(outcome.choices.at(choice).tokens.size(), 400u);
    EXPECT_GT(outcome.choices.at(choice).tokens.size(), 0u);
  }
  // In its prompt: the first step of 500 tokens stands at the gate.
  CloseGate();
  request = Request(500, 5);
  request.n = 3;
  ASSERT_EQ(service_->Submit(request, outcomes_.For(1), &prefill), SubmitResult::kAccepted);
  WaitAtGate();
  ASSERT_EQ(service_->Submit(Request(4, 400), outcomes_.For(2), &queued), SubmitResult::kAccepted);
  ASSERT_EQ(service_->Submit(Request(4, 3), outcomes_.For(3), &other), SubmitResult::kAccepted);
  service_->Cancel(prefill);
  service_->Cancel(queued);
  service_->Cancel(queued);  // twice, and one that never was
  service_->Cancel(999);
  OpenGate();
  outcome = outcomes_.Wait(1);
  EXPECT_EQ(outcome.choices.size(), 3u) << "every choice has an end";
  EXPECT_EQ(outcome.choices.at(2).finish, FinishReason::kCancelled);
  EXPECT_EQ(outcome.n_events, 1);
  outcome = outcomes_.Wait(2);
  EXPECT_EQ(outcome.choices.at(0).finish, FinishReason::kCancelled);
  EXPECT_TRUE(outcome.choices.at(0).tokens.empty());
  EXPECT_EQ(outcomes_.Wait(3).choices.at(0).tokens.size(), 3u) << "the others go on";
  service_->Cancel(other);  // over already
  EXPECT_EQ(service_->Stats().cancelled_total, 3);
  ExpectIdle();
  EXPECT_EQ(outcomes_.Wait(2).n_done, 1) << "one last event";
}

TEST_F(ServiceWays, WhatCannotBeginInTimeIsOver) {
  ServiceOptions options = kOptions;
  options.queue_seconds = 1e-9;  // whoever does not begin in the first step that it sees is over
  Open(options);
  CloseGate();
  ServiceRequest request = Request(4, 3);
  request.n = 2;  // both places
  RequestId id = 0;
  ASSERT_EQ(service_->Submit(request, outcomes_.For(0), &id), SubmitResult::kAccepted);
  WaitAtGate();
  std::atomic<bool> has_expired = false;
  const auto watch = [&](const ServiceEvent& event) { has_expired = event.waited_too_long; };
  ASSERT_EQ(service_->Submit(request, outcomes_.For(1, watch), &id), SubmitResult::kAccepted);
  OpenGate();
  for (const int choice : {0, 1}) {
    EXPECT_EQ(outcomes_.Wait(0).choices.at(choice).tokens.size(), 3u) << "it began at once";
    EXPECT_EQ(outcomes_.Wait(1).choices.at(choice).finish, FinishReason::kCancelled);
    EXPECT_TRUE(outcomes_.Wait(1).choices.at(choice).tokens.empty());
  }
  EXPECT_TRUE(has_expired);
  EXPECT_EQ(outcomes_.Wait(1).n_events, 1);
  EXPECT_EQ(service_->Stats().expired_total, 1);
  EXPECT_EQ(service_->Stats().cancelled_total, 0);
  ExpectIdle();
}

TEST_F(ServiceWays, DrainingFinishesWhatRuns) {
  RequestId id = 0;
  ASSERT_EQ(service_->Submit(Request(20, 30), outcomes_.For(0), &id), SubmitResult::kAccepted);
  service_->Drain();
  EXPECT_EQ(service_->Submit(Request(4, 2), {}, &id), SubmitResult::kDraining);
  EXPECT_EQ(outcomes_.Wait(0).choices.at(0).tokens.size(), 30u);
}

TEST_F(ServiceWays, AFailureEndsOneRequestAlone) {
  const Outcome alone = RunOne(*service_, Request(20, 60));
  CloseGate();
  RequestId id = 0;
  ASSERT_EQ(service_->Submit(Request(20, 60), outcomes_.For(0), &id), SubmitResult::kAccepted);
  WaitAtGate();
  ServiceRequest poisoned = Request(20, 60);
  poisoned.prompt[15] = kPoison;
  poisoned.n = 2;
  ASSERT_EQ(service_->Submit(poisoned, outcomes_.For(1), &id), SubmitResult::kAccepted);
  OpenGate();
  const Outcome failed = outcomes_.Wait(1), other = outcomes_.Wait(0);
  ASSERT_TRUE(failed.error.has_value());
  EXPECT_EQ(failed.error->code(), ErrorCode::kIo);
  EXPECT_STREQ(failed.error->what(), "expert 3: read failed");
  EXPECT_EQ(failed.n_done, 1);
  EXPECT_FALSE(other.error.has_value());
  EXPECT_EQ(other.choices.at(0).tokens, alone.choices.at(0).tokens);
  EXPECT_EQ(service_->Stats().failed_total, 1);
  ExpectIdle();
}

TEST_F(ServiceWays, ACallbackThatThrowsEndsItsRequestAlone) {
  RequestId id = 0;
  std::atomic<int> n_calls = 0;
  SetLogLevel(LogLevel::kError);
  ASSERT_EQ(service_->Submit(
                Request(20, 400),
                [&](ServiceEvent&&) {
                  ++n_calls;
                  throw std::runtime_error("gone");
                },
                &id),
            SubmitResult::kAccepted);
  EXPECT_EQ(RunOne(*service_, Request(4, 30)).choices.at(0).tokens.size(), 30u);
  SetLogLevel(LogLevel::kWarn);
  EXPECT_EQ(n_calls, 1);
  ExpectIdle();
}

TEST_F(ServiceWays, CallbacksMayUseTheService) {
  RequestId id = 0;
  std::atomic<RequestId> own = 0;
  std::promise<void> done;
  ASSERT_EQ(service_->Submit(
                Request(20, 400),
                [&](ServiceEvent&& event) {
                  own = event.id;
                  service_->Cancel(event.id);
                  EXPECT_GE(service_->Stats().generated_tokens_total, 1);
                  if (event.done) done.set_value();
                },
                &id),
            SubmitResult::kAccepted);
  done.get_future().wait();
  EXPECT_EQ(own, id);
  ExpectIdle();
}

TEST_F(ServiceWays, TheEndOfTheServiceIsTheEndOfItsRequests) {
  RequestId id = 0;
  for (int key = 0; key < 3; ++key) {
    ASSERT_EQ(service_->Submit(Request(20, 400), outcomes_.For(key), &id), SubmitResult::kAccepted);
    if (key < 2) outcomes_.WaitForEvents(key, 1);
  }
  service_.reset();
  for (int key = 0; key < 3; ++key) {
    const Outcome outcome = outcomes_.Wait(key);
    EXPECT_EQ(outcome.n_done, 1);
    EXPECT_EQ(outcome.choices.at(0).finish, FinishReason::kCancelled);
  }
}

}  // namespace
}  // namespace mixtral

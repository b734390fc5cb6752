// SPDX-License-Identifier: Apache-2.0
// Nothing in the service grows with the steps that it has made. This binary's operator new counts
// the bytes that live.
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <atomic>
#include <new>

#include "engine/service.h"
#include "engine/service_test_support.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace {

std::atomic<int64_t> g_live_bytes{0};

void* Allocate(std::size_t size, std::size_t alignment) {
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
  if (memory == nullptr) throw std::bad_alloc();
  g_live_bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}

void Free(void* memory) {
  if (memory != nullptr) g_live_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)));
  free(memory);
}

}  // namespace

// Not inlined: where a compiler sees through one side of a pair alone, it warns of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  return Allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  void* memory = malloc(size);
  if (memory != nullptr) g_live_bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  Free(memory);
}

namespace mixtral::testing {
namespace {

TEST(ServiceGrowth, StepsLeaveNothingBehind) {
  const TempDir dir;
  ModelConfig config = TinyConfig();
  config.max_context = 4096;
  WriteGguf(MakeTinyModel(config, 3), dir / "m.gguf");
  const ServiceOptions options = {.context = 2048, .max_running = 2, .step_tokens = 32};
  Engine engine(dir / "m.gguf", EngineOptionsFor(options, {.threads = 1}));
  Service service(&engine, options);
  ServiceRequest request;
  request.prompt = RandomTokens(40, config.vocab_size, 1);
  request.max_tokens = 1200;
  request.ignore_eos = true;
  request.sampler = {.temperature = 1.0f, .top_p = 0.9f};
  Outcomes ends;
  std::vector<int64_t> live;
  RequestId id = 0;
  int n_events = 0;
  live.reserve(1200);
  ASSERT_EQ(service.Submit(
                request,
                [&](ServiceEvent&& event) {
                  // Of the event alone, which is gone by the next step.
                  const ServiceEvent taken = std::move(event);
                  if (++n_events % 100 == 0) live.push_back(g_live_bytes.load());
                  if (taken.done) ends.For(0)(ServiceEvent(taken));
                },
                &id),
            SubmitResult::kAccepted);
  ends.Wait(0);
  ASSERT_EQ(live.size(), 12u);
  for (size_t i = 2; i < live.size(); ++i)
    EXPECT_NEAR(static_cast<double>(live[i]), static_cast<double>(live[1]), 2048)
        << "after " << (i + 1) * 100 << " steps";
}

// Requests come and go, the same ones and others: what is left is bounded by the cache's pages.
TEST(ServiceGrowth, RequestsLeaveNothingBehind) {
  const TempDir dir;
  ModelConfig config = TinyConfig();
  config.max_context = 256;
  WriteGguf(MakeTinyModel(config, 3), dir / "m.gguf");
  const ServiceOptions options = {.context = 256, .max_running = 4, .step_tokens = 64};
  Engine engine(dir / "m.gguf", EngineOptionsFor(options, {.threads = 1}));
  Service service(&engine, options);
  const auto live_after = [&] {
    // An event of a later request: all earlier ones are gone by then.
    ServiceRequest small;
    small.prompt = {5};
    small.max_tokens = 1;
    RunOne(service, small);
    return static_cast<double>(g_live_bytes.load());
  };
  double after_warmup = 0;
  for (int i = 0; i < 300; ++i) {
    ServiceRequest request;
    request.prompt = RandomTokens(100, config.vocab_size, static_cast<uint64_t>(i));
    request.max_tokens = 3;
    request.n = 1 + i % 3;
    request.policy.ban = {i % 3};
    RunOne(service, request);
    if (i == 99) after_warmup = live_after();
  }
  // The one token's request itself may be there or not; 50 bytes a request would be 10,000.
  EXPECT_NEAR(live_after(), after_warmup, 8000);
}

}  // namespace
}  // namespace mixtral::testing

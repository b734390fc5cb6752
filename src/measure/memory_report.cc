// SPDX-License-Identifier: Apache-2.0
// Sizes, limits and the decode speed that the memory bus allows.
#include "measure/memory_report.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "measure/ceilings.h"
#include "measure/machine.h"
#include "model/kv_cache.h"

namespace mixtral {
namespace {

constexpr std::array<int64_t, 4> kContexts = {4096, 8192, 16384, 32768};
constexpr std::array<DType, 2> kCacheTypes = {DType::kF16, DType::kF32};
constexpr double kMeasureSeconds = 0.2;

Json PerSecond(const MemoryPlan& plan, const ModelConfig& config, int64_t position, Fit fit,
               const std::optional<ReadSpeed>& speed) {
  if (!speed || fit != Fit::kYes) return {};  // reading from disk is another speed
  const int64_t seen =
      config.sliding_window > 0 ? std::min<int64_t>(position, config.sliding_window) : position;
  const auto bytes = static_cast<double>(plan.active_bytes) +
                     static_cast<double>(seen) *
                         static_cast<double>(KvCache::BytesPerPosition(config, DType::kF16));
  return bytes > 0 ? Json(speed->bytes_per_s / bytes) : Json();
}

Json DescribeContext(const ModelConfig& config, const MemoryPlan& plan, const MemoryLimits& limits,
                     const std::optional<ReadSpeed>& speed, int64_t positions) {
  Json kv = Json::Object();
  const auto n = static_cast<uint64_t>(positions);
  for (const DType type : kCacheTypes)
    kv.Set(Name(type), KvCache::BytesPerPosition(config, type) * n);
  const uint64_t anonymous =
      plan.scratch_bytes + KvCache::BytesPerPosition(config, DType::kF16) * n;
  const Fit fit = FitOf(plan.weight_bytes, anonymous, limits);
  return Json::Object()
      .Set("positions", positions)
      .Set("beyond_model", positions > config.max_context)
      .Set("kv", std::move(kv))
      .Set("fits", FitName(fit))
      .Set("decode_tokens_per_s", PerSecond(plan, config, positions, fit, speed));
}

}  // namespace

std::optional<ReadSpeed> MeasureReadSpeed(const MemoryLimits& limits) {
  const size_t bytes = UncachedBytes(ThisMachine().l3_bytes);
  if (bytes > limits.Left() / 2) return std::nullopt;
  const char* problem = nullptr;
  const kernels::KernelTable* kernels = kernels::ActiveKernels(&problem);
  if (kernels == nullptr) Throw(ErrorCode::kInvalidArgument, "{}", problem);
  ThreadPool pool(AvailableCpus());
  ReadProbe probe(nullptr, bytes);
  return ReadSpeed{probe.BytesPerSecond(pool, kernels->read_words.fn, kMeasureSeconds),
                   pool.n_threads()};
}

std::string_view FitName(Fit fit) {
  switch (fit) {
    case Fit::kYes:
      return "yes";
    case Fit::kFromDisk:
      return "from disk";
    case Fit::kNo:
      break;
  }
  return "no";
}

Fit FitOf(uint64_t weight_bytes, uint64_t anonymous_bytes, const MemoryLimits& limits) {
  if (anonymous_bytes > limits.Left()) return Fit::kNo;
  return weight_bytes > limits.Left() - anonymous_bytes ? Fit::kFromDisk : Fit::kYes;
}

Json DescribeMemory(const ModelConfig& config, const MemoryPlan& plan, const MemoryLimits& limits,
                    const std::optional<ReadSpeed>& speed) {
  Json contexts = Json::Array();
  for (const int64_t positions : kContexts)
    contexts.Push(DescribeContext(config, plan, limits, speed, positions));
  const Fit fit = FitOf(plan.weight_bytes, plan.scratch_bytes, limits);
  return Json::Object()
      .Set("weights", plan.weight_bytes)
      .Set("scratch", plan.scratch_bytes)
      .Set("total", limits.total)
      .Set("available", limits.available)
      .Set("group_left", limits.group_left ? Json(*limits.group_left) : Json())
      .Set("read_gb_per_s", speed ? Json(speed->bytes_per_s * 1e-9) : Json())
      .Set("threads", speed ? Json(speed->threads) : Json())
      .Set("decode_tokens_per_s", PerSecond(plan, config, 0, fit, speed))
      .Set("contexts", std::move(contexts));
}

}  // namespace mixtral

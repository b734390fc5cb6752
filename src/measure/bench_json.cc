// SPDX-License-Identifier: Apache-2.0
// Writes and reads the object of bench_json.h. docs/benchmarks.md describes it.
#include "measure/bench_json.h"

#include <fmt/format.h>

#include <utility>

#include "model/plan.h"

namespace mixtral {
namespace {

constexpr std::string_view kLists[] = {"ceilings", "figures"};

Json NumbersOf(const std::vector<int>& numbers) {
  Json list = Json::Array();
  for (const int number : numbers) list.Push(number);
  return list;
}

Json FigureToJson(const Figure& figure) {
  Json json = Json::Object()
                  .Set("name", figure.name)
                  .Set("unit", figure.unit)
                  .Set("higher_is_better", figure.direction == Direction::kHigherIsBetter)
                  .Set("median", figure.value.median)
                  .Set("min", figure.value.min)
                  .Set("max", figure.value.max)
                  .Set("n", figure.value.n);
  if (!figure.cost) return json;
  const FigureCost& cost = *figure.cost;
  return json.Set("bytes_per_token", cost.bytes_per_token)
      .Set("ops_per_token", cost.ops_per_token)
      .Set("gb_per_s", cost.gb_per_s)
      .Set("gop_per_s", cost.gop_per_s)
      .Set("percent_of_read", cost.percent_of_read)
      .Set("percent_of_peak", cost.percent_of_peak)
      .Set("percent_of_limit", cost.percent_of_limit);
}

Json FiguresToJson(const std::vector<Figure>& figures) {
  Json list = Json::Array();
  for (const Figure& figure : figures) list.Push(FigureToJson(figure));
  return list;
}

Json ModelToJson(const Checkpoint& checkpoint, const BenchPlan& plan, const BenchResult& result) {
  const ModelConfig config = ReadConfig(checkpoint).config;
  const MemoryPlan memory = PlanMemory(checkpoint, config, plan.kv_dtype);
  Json types = Json::Object();
  for (const auto& [type, bytes] : memory.bytes_by_type) types.Set(type, bytes);
  return Json::Object()
      .Set("path", checkpoint.path())
      .Set("layers", config.n_layers)
      .Set("dim", config.dim)
      .Set("ffn_dim", config.ffn_dim)
      .Set("experts", config.n_experts)
      .Set("experts_per_token", config.experts_per_token)
      .Set("parameters", config.TotalParameters())
      .Set("active_parameters", config.ActiveParameters())
      .Set("type", Name(result.weight_type))
      .Set("bytes_by_type", std::move(types))
      .Set("routing_max_over_mean", result.routing_max_over_mean);
}

Spread SpreadFrom(const Json& figure) {
  return {figure.At("median").AsDouble(), figure.At("min").AsDouble(), figure.At("max").AsDouble(),
          static_cast<int>(figure.At("n").AsInt(1, 1 << 20))};
}

std::optional<Json> FindFigure(const Json& list, const std::string& name) {
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json figure = list.At(i);
    if (figure.At("name").AsString() == name) return figure;
  }
  return std::nullopt;
}

}  // namespace

Json BenchToJson(const Checkpoint& checkpoint, const BenchPlan& plan, const BenchResult& result) {
  const Machine& machine = result.machine;
  return Json::Object()
      .Set("machine", Json::Object()
                          .Set("cpu", machine.cpu)
                          .Set("cpus", machine.cpus)
                          .Set("l3_bytes", machine.l3_bytes)
                          .Set("memory_bytes", machine.memory_bytes))
      .Set("isa", result.isa)
      .Set("model", ModelToJson(checkpoint, plan, result))
      .Set("settings", Json::Object()
                           .Set("threads", NumbersOf(plan.threads))
                           .Set("compute", plan.compute == ComputeMode::kExact ? "exact" : "fast")
                           .Set("kv_type", Name(plan.kv_dtype))
                           .Set("repetitions", plan.repetitions)
                           .Set("seed", plan.seed))
      .Set("peak", result.peak_name)
      .Set("ceilings", FiguresToJson(result.ceilings))
      .Set("figures", FiguresToJson(result.figures));
}

std::vector<Comparison> CompareResults(const Json& before, const Json& now) {
  std::vector<Comparison> comparisons;
  for (const std::string_view list_name : kLists) {
    const Json old_list = before.At(list_name), new_list = now.At(list_name);
    for (size_t i = 0; i < new_list.Size(); ++i) {
      const Json figure = new_list.At(i);
      const std::string name = figure.At("name").AsString();
      const std::optional<Json> old = FindFigure(old_list, name);
      if (!old) continue;
      const auto direction = figure.At("higher_is_better").AsBool() ? Direction::kHigherIsBetter
                                                                    : Direction::kLowerIsBetter;
      Comparison c = {.name = name,
                      .unit = figure.At("unit").AsString(),
                      .before = SpreadFrom(*old),
                      .now = SpreadFrom(figure)};
      c.verdict = Compare(c.now, c.before, direction);
      comparisons.push_back(std::move(c));
    }
  }
  return comparisons;
}

std::vector<std::string> DifferencesOf(const Json& before, const Json& now) {
  std::vector<std::string> differences;
  const auto compare = [&](const std::string& what, const Json& a, const Json& b) {
    if (a.Dump() != b.Dump())
      differences.push_back(fmt::format("{}: {}, now {}", what, a.Dump(), b.Dump()));
  };
  compare("machine", before.At("machine").At("cpu"), now.At("machine").At("cpu"));
  compare("cpus", before.At("machine").At("cpus"), now.At("machine").At("cpus"));
  compare("isa", before.At("isa"), now.At("isa"));
  for (const char* key : {"layers", "parameters", "bytes_by_type"})
    compare(key, before.At("model").At(key), now.At("model").At(key));
  for (const char* key : {"threads", "compute", "kv_type"})
    compare(key, before.At("settings").At(key), now.At("settings").At(key));
  return differences;
}

Json ComparisonsToJson(const std::vector<Comparison>& comparisons) {
  Json list = Json::Array();
  for (const Comparison& c : comparisons)
    list.Push(Json::Object()
                  .Set("name", c.name)
                  .Set("unit", c.unit)
                  .Set("before", c.before.median)
                  .Set("now", c.now.median)
                  .Set("verdict", VerdictName(c.verdict)));
  return list;
}

}  // namespace mixtral

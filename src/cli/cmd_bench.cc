// SPDX-License-Identifier: Apache-2.0
// mixtral bench: the speed of a model, or of a shape with random weights, beside what the machine
// can do at best.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/bench_report.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "io/checkpoint.h"
#include "measure/random_model.h"
#include "spec/presets.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral bench model.gguf\n"
    "  mixtral bench --shape mixtral-8x7b --layers 4 --type q4_k\n"
    "  mixtral bench model.gguf --depth 8192,32768 --json > before.json\n"
    "  mixtral bench model.gguf --depth 8192,32768 --compare before.json";

constexpr int kDefaultLayers = 4;  // as deep as a machine of 24 GB keeps in its page cache

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

const std::vector<std::string>& TypeNames() {  // "f32", ..., in the order of DType
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (int i = 0; i < kNumMatrixDTypes; ++i)
      list.push_back(Lower(kDTypeInfo[Index(static_cast<DType>(i))].name));
    return list;
  }();
  return names;
}

DType TypeFromName(const std::string& name) {
  const auto& names = TypeNames();
  return static_cast<DType>(std::find(names.begin(), names.end(), name) - names.begin());
}

/// "512,32" in the order given; "none": empty.
std::vector<int> ParseList(const std::string& text, IntRange range, std::string_view what) {
  std::vector<int> numbers;
  if (text == "none") return numbers;
  for (const std::string_view part : Split(text, ',')) {
    const auto number = static_cast<int>(ParseInt(part, range, what));
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end())
      numbers.push_back(number);
  }
  return numbers;
}

struct BenchFlags {
  std::optional<std::string> path;
  std::string shape, type = "q4_k", compute = "fast", kv_type;
  PathFlags log;
  int layers = 0, repetitions = 5, decode = 32;
  int64_t seed = 1;
  std::optional<std::string> prefill, batch, depth, threads, cache_dir, compare;
  bool remove = false, json = false, quiet = false;

  bool Parse(Arguments arguments);
  BenchPlan ToPlan() const;
};

bool BenchFlags::Parse(Arguments arguments) {
  CommandLine line("bench", "Speed of a model beside what this machine can do at best.", kExamples);
  line.Optional("PATH", &path, "A model; or --shape");
  line.Choice("--shape", &shape, {PresetNames().begin(), PresetNames().end()},
              "Random weights of this shape, made once and kept in --cache-dir");
  line.Int("--layers", &layers, {1, 1000}, "Layers of the shape (default 4)");
  line.Choice("--type", &type, {TypeNames().begin(), TypeNames().end()},
              "Weight type of the shape (default q4_k)");
  line.Text("--cache-dir", &cache_dir, "DIR",
            "Where shapes are kept, in DIR/tmp (default $XDG_CACHE_HOME/mixtral)");
  line.Flag("--delete", &remove, "Delete the shape's file at the end");
  line.Group("Measuring");
  line.Text("--prefill", &prefill, "LIST", "Prompt lengths (default 512,32; 'none')");
  line.Int("--decode", &decode, {0, 100000}, "Steps of one sequence (default 32; 0: no decoding)");
  line.Text("--batch", &batch, "LIST", "Sequences decoded at once (default 4,16,64; 'none')");
  line.Text("--depth", &depth, "LIST", "Also behind this many cached positions (default none)");
  line.Text("-t,--threads", &threads, "LIST",
            "Thread counts, the largest for everything (default 1 and the CPUs of this process)");
  line.Int("--repetitions", &repetitions, {1, 1000},
           "Rounds (default 5; fewer than 3 have no interval)");
  line.Int("--seed", &seed, {0, std::numeric_limits<int64_t>::max()},
           "Of the random tokens (default 1)");
  line.Choice("--compute", &compute, {"fast", "exact"}, "As in run (default fast)");
  line.Choice("--kv-type", &kv_type, {"f16", "f32"}, "As in run");
  line.Group("Output");
  line.Flag("--json", &json, "Print one JSON object");
  line.Text("--compare", &compare, "FILE", "Say better, worse or noise against an earlier --json");
  line.Flag("-q,--quiet", &quiet, "No progress and notes on standard error");
  log.AddLogLevelTo(line);
  if (!line.Parse(arguments)) return false;
  if (path.has_value() == !shape.empty())
    ThrowUsage("bench: expected either PATH or --shape, found {}", path ? "both" : "neither");
  if (path && (layers > 0 || remove))
    ThrowUsage("bench: {} needs --shape", layers > 0 ? "--layers" : "--delete");
  return true;
}

BenchPlan BenchFlags::ToPlan() const {
  constexpr IntRange kTokens = {1, 1 << 20}, kBatch = {1, 512}, kThreads = {1, 1024};
  ComputeFlags precision;
  precision.compute = compute;
  precision.kv_type = kv_type;
  BenchPlan plan;
  if (prefill) plan.prefill = ParseList(*prefill, kTokens, "--prefill");
  if (batch) plan.batches = ParseList(*batch, kBatch, "--batch");
  if (depth) plan.depths = ParseList(*depth, kTokens, "--depth");
  plan.threads = threads ? ParseList(*threads, kThreads, "-t/--threads")
                         : std::vector<int>{1, AvailableCpus()};
  if (plan.threads.empty()) ThrowUsage("-t/--threads: expected a list of integers, found 'none'");
  std::sort(plan.threads.begin(), plan.threads.end());
  plan.threads.erase(std::unique(plan.threads.begin(), plan.threads.end()), plan.threads.end());
  plan.decode_tokens = decode;
  plan.repetitions = repetitions;
  plan.seed = static_cast<uint64_t>(seed);
  plan.compute = precision.ToEngineOptions().compute;
  plan.kv_dtype = precision.KvType();
  if (plan.prefill.empty() && decode == 0)
    ThrowUsage("bench: expected something to measure, found --prefill none and --decode 0");
  return plan;
}

std::filesystem::path CacheFolder(const BenchFlags& flags) {
  if (flags.cache_dir) return *flags.cache_dir;
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && *xdg != '\0') return std::filesystem::path(xdg) / "mixtral";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return std::filesystem::path(home) / ".cache" / "mixtral";
  ThrowUsage("--cache-dir: expected a folder, found neither it nor XDG_CACHE_HOME nor HOME");
}

/// The shape's file, made unless a whole one of that name is there. nullopt: interrupted.
class ShapeFile {
 public:
  explicit ShapeFile(const BenchFlags& flags) : flags_(flags) {
    model_.config = PresetConfig(flags.shape);
    const int all_layers = model_.config.n_layers;
    model_.config.n_layers = flags.layers > 0 ? flags.layers : std::min(all_layers, kDefaultLayers);
    model_.type = TypeFromName(flags.type);
    model_.name = fmt::format("{}-{}-layers-{}", flags.shape, model_.config.n_layers, flags.type);
    path_ = CacheFolder(flags) / "tmp" / (model_.name + ".v1.gguf");
  }
  ~ShapeFile() {
    std::error_code ignored;
    if (flags_.remove) std::filesystem::remove(path_, ignored);
  }
  ShapeFile(const ShapeFile&) = delete;
  ShapeFile& operator=(const ShapeFile&) = delete;

  std::string path() const { return path_.string(); }

  /// false: interrupted, and nothing was left behind.
  bool Make(const InterruptScope& interrupt) {
    const uint64_t bytes = RandomModelBytes(model_);
    std::error_code error;
    if (std::filesystem::file_size(path_, error) == bytes && !error) {
      if (!flags_.quiet) Note("{}: used again, {}", path(), HumanBytes(bytes));
      return true;
    }
    std::filesystem::create_directories(path_.parent_path(), error);
    if (error)
      Throw(ErrorCode::kIo, "--cache-dir: expected to create {}, found: {}",
            path_.parent_path().string(), error.message());
    CheckSpace(bytes);
    if (!flags_.quiet)
      Note("{}: writing {} of random weights, {}", path(), HumanBytes(bytes),
           flags_.remove ? "deleted at the end" : "kept for the next time");
    Progress progress("writing random weights", "B");
    return WriteRandomModel(model_, path(), [&](uint64_t done, uint64_t total) {
      if (!flags_.quiet) progress.Update(static_cast<int64_t>(done), static_cast<int64_t>(total));
      return !interrupt.interrupted();
    });
  }

 private:
  void CheckSpace(uint64_t bytes) const {
    std::error_code error;
    const auto space = std::filesystem::space(path_.parent_path(), error);
    if (!error && space.available < bytes)
      Throw(ErrorCode::kIo,
            "{}: expected {} of free disk for the shape (--layers makes it smaller), found {}",
            path(), HumanBytes(bytes), HumanBytes(space.available));
  }

  const BenchFlags& flags_;
  RandomModel model_;
  std::filesystem::path path_;
};

int Measure(const BenchFlags& flags, const BenchPlan& plan, const std::string& path,
            const std::optional<Json>& before, const InterruptScope& interrupt) {
  const auto checkpoint = OpenCheckpoint(path);
  std::optional<BenchResult> result;
  {
    Progress progress("measuring", "runs");
    result = RunBench(*checkpoint, plan, interrupt.flag(),
                      [&](std::string_view /*what*/, int done, int total) {
                        if (!flags.quiet) progress.Update(done, total);
                      });
  }
  if (!result) return kExitInterrupted;
  Json json = BenchToJson(*checkpoint, plan, *result);
  std::vector<Comparison> comparisons;
  if (before) {
    comparisons = CompareResults(*before, json);
    json.Set("comparison", ComparisonsToJson(comparisons));
  }
  json.Set("version", kVersion);
  if (flags.json) {
    WriteOut(json.Dump() + "\n");
    return kExitOk;
  }
  WriteOut(BenchText(json));
  if (before) WriteOut(ComparisonText(comparisons, DifferencesOf(*before, json), *flags.compare));
  return kExitOk;
}

}  // namespace

int BenchCommand(Arguments arguments) {
  BenchFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.log.Apply();
  const BenchPlan plan = flags.ToPlan();
  std::optional<Json> before;
  if (flags.compare) {
    before = Json::Parse(ReadInput(*flags.compare), *flags.compare);
    CompareResults(*before, *before);  // refuses a file that is no result before any work
  }
  const InterruptScope interrupt;
  if (flags.path) return Measure(flags, plan, *flags.path, before, interrupt);
  ShapeFile file(flags);
  if (!file.Make(interrupt)) return kExitInterrupted;
  return Measure(flags, plan, file.path(), before, interrupt);
}

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// Makes the cases of a plan, runs them round by round, and turns samples into figures.
#include "measure/bench_run.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "kernels/kernel_table.h"
#include "measure/bench_engine.h"
#include "measure/ceilings.h"

namespace mixtral {
namespace {

constexpr int64_t kDecodeDepth = 128;  // a short conversation: attention is next to nothing
constexpr int kBatchedTokens = 128;    // about as many in a run of a batched case
constexpr int kDeepSteps = 8;          // decoded at a depth
constexpr int kMaxRows = 512;          // of a prefill step, as everywhere in the engine
constexpr size_t kProbeBytes = size_t{256} << 20;
constexpr double kReadSeconds = 0.1, kPeakSeconds = 0.05;
constexpr double kReachablePeak = 0.75;  // of the peak, in percent_of_limit

enum class Kind : uint8_t { kPrefill, kDecode };

struct Case {
  std::string name;
  Kind kind = Kind::kDecode;
  int tokens = 0;     // of a prompt; steps of a decode
  int sequences = 1;  // of a decode
  int64_t depth = 0;
  Counting counting = Counting::kOn;
  size_t engine = 0;    // in the order of plan.threads
  uint64_t stream = 0;  // of random tokens; cases of one stream get the same ones
};

class Run {
 public:
  Run(const Checkpoint& checkpoint, const BenchPlan& plan, const std::atomic<bool>* cancel)
      : checkpoint_(checkpoint),
        plan_(plan),
        cancel_(cancel),
        config_(ReadConfig(checkpoint).config),
        main_(plan.threads.size() - 1),
        pool_(plan.threads.back()) {
    const char* problem = nullptr;
    const kernels::KernelTable* kernels = kernels::ActiveKernels(&problem);
    if (kernels == nullptr) Throw(ErrorCode::kInvalidArgument, "{}", problem);
    kernels_ = kernels;
  }

  std::optional<BenchResult> All(const std::function<void(std::string_view, int, int)>& on_step) {
    MakeCases();
    CheckCases();
    OpenEngines();
    if (!WarmUp()) return std::nullopt;
    samples_.resize(cases_.size());
    const int n_cases = static_cast<int>(cases_.size());
    int done = 0;
    for (int round = 0; round < plan_.repetitions; ++round) {
      MeasureCeilings();
      for (const size_t i : OrderOf(round)) {
        on_step(cases_[i].name, done++, plan_.repetitions * n_cases);
        const auto sample = RunCase(cases_[i], round);
        if (!sample) return std::nullopt;
        samples_[i].push_back(*sample);
      }
    }
    return Summary();
  }

 private:
  const BenchEngine& engine() const { return *engines_[main_]; }
  /// As planned; the pair that tells what counting costs takes turns in being first.
  std::vector<size_t> OrderOf(int round) const {
    std::vector<size_t> order(cases_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t i = 0; i < cases_.size() && round % 2 == 1; ++i)
      if (cases_[i].counting == Counting::kOff) std::swap(order[i], order[i - 1]);
    return order;
  }

  void MakeCases();
  void AddCase(Case c) {
    if (c.stream == 0) c.stream = cases_.size() + 1;
    cases_.push_back(std::move(c));
  }
  void CheckCases() const;
  void OpenEngines();
  bool WarmUp();
  void MeasureCeilings();
  std::optional<Sample> RunCase(const Case& c, int round);

  BenchResult Summary() const;
  double PeakOf(DType dtype) const;
  Figure SpeedOf(size_t i) const;
  FigureCost CostOf(const std::vector<Sample>& samples) const;
  void AddThreadFigures(std::vector<Figure>& figures) const;
  void AddAttentionFigures(std::vector<Figure>& figures) const;
  void AddCountingFigure(std::vector<Figure>& figures) const;
  const std::vector<Sample>* Find(std::string_view name) const;

  const Checkpoint& checkpoint_;
  const BenchPlan& plan_;
  const std::atomic<bool>* cancel_;
  ModelConfig config_;
  const kernels::KernelTable* kernels_;
  size_t main_;
  ThreadPool pool_;
  std::unique_ptr<ReadProbe> probe_;
  std::vector<Case> cases_;
  std::vector<std::unique_ptr<BenchEngine>> engines_;
  std::vector<std::vector<Sample>> samples_;  // per case, one a round
  std::vector<double> read_;                  // bytes per second, one a round
  std::array<std::vector<double>, kernels::kNumPeaks> peaks_;
};

std::string PrefillName(int tokens) { return fmt::format("prefill_{}", tokens); }

void Run::MakeCases() {
  for (const int tokens : plan_.prefill)
    AddCase(
        {.name = PrefillName(tokens), .kind = Kind::kPrefill, .tokens = tokens, .engine = main_});
  if (plan_.decode_tokens > 0) {
    const Case decode = {.name = "decode",
                         .tokens = plan_.decode_tokens,
                         .depth = kDecodeDepth,
                         .engine = main_,
                         .stream = cases_.size() + 1};
    AddCase(decode);
    if (config_.n_experts > 0) {
      Case uncounted = decode;
      uncounted.name = "decode_uncounted";
      uncounted.counting = Counting::kOff;
      AddCase(uncounted);  // right behind its twin
    }
    for (const int n : plan_.batches)
      AddCase({.name = fmt::format("decode_batch_{}", n),
               .tokens = std::min(plan_.decode_tokens, std::clamp(kBatchedTokens / n, 4, 32)),
               .sequences = n,
               .depth = kDecodeDepth,
               .engine = main_});
  }
  for (const int depth : plan_.depths) {
    if (plan_.decode_tokens > 0)
      AddCase({.name = fmt::format("decode_at_{}", depth),
               .tokens = std::min(plan_.decode_tokens, kDeepSteps),
               .depth = depth,
               .engine = main_});
    if (!plan_.prefill.empty())
      AddCase({.name = fmt::format("{}_at_{}", PrefillName(plan_.prefill.front()), depth),
               .kind = Kind::kPrefill,
               .tokens = plan_.prefill.front(),
               .depth = depth,
               .engine = main_});
  }
  if (plan_.prefill.empty()) return;
  for (size_t i = 0; i < main_; ++i)
    AddCase(
        {.name = fmt::format("{}_threads_{}", PrefillName(plan_.prefill.front()), plan_.threads[i]),
         .kind = Kind::kPrefill,
         .tokens = plan_.prefill.front(),
         .engine = i});
}

void Run::OpenEngines() {
  for (size_t i = 0; i < plan_.threads.size(); ++i) {
    BenchSetup setup = {.threads = plan_.threads[i],
                        .compute = plan_.compute,
                        .kv_dtype = plan_.kv_dtype,
                        .max_rows = kMaxRows,
                        .n_positions = 64,
                        .cancel = cancel_};
    for (const Case& c : cases_) {
      if (c.engine != i) continue;
      setup.max_sequences = std::max(setup.max_sequences, c.sequences);
      setup.n_positions =
          std::max(setup.n_positions, BenchEngine::PositionsFor(c.sequences, c.depth, c.tokens));
    }
    engines_.push_back(std::make_unique<BenchEngine>(checkpoint_, setup));
  }
}

void Run::CheckCases() const {
  for (const Case& c : cases_)
    if (c.depth + c.tokens > config_.max_context)
      Throw(ErrorCode::kInvalidArgument,
            "{}: expected at most {} positions (the model's context), found {}, in {}", c.name,
            config_.max_context, c.depth + c.tokens, checkpoint_.path());
}

/// Reads the weights into memory, wakes the processor up.
bool Run::WarmUp() {
  probe_ = std::make_unique<ReadProbe>(
      &checkpoint_, std::max(UncachedBytes(ThisMachine().l3_bytes), kProbeBytes));
  for (const auto& e : engines_)
    if (!e->Prefill(std::min(64, config_.max_context), 0, plan_.seed)) return false;
  return true;
}

void Run::MeasureCeilings() {
  read_.push_back(probe_->BytesPerSecond(pool_, kernels_->read_words.fn, kReadSeconds));
  for (size_t i = 0; i < peaks_.size(); ++i)
    peaks_[i].push_back(OpsPerSecond(pool_, kernels_->peaks[i].fn, kPeakSeconds));
}

std::optional<Sample> Run::RunCase(const Case& c, int round) {
  const uint64_t seed = plan_.seed + 1000 * c.stream + static_cast<uint64_t>(round);
  BenchEngine& e = *engines_[c.engine];
  if (c.kind == Kind::kPrefill) return e.Prefill(c.tokens, c.depth, seed);
  return e.Decode(c.sequences, c.tokens, c.depth, seed, c.counting);
}

// ---- samples to figures

template <class Fn>
Spread SpreadOver(const std::vector<Sample>& samples, Fn&& value) {
  std::vector<double> values;
  for (const Sample& sample : samples) values.push_back(value(sample));
  return SpreadOf(values);
}

/// Of pairs of the same round.
template <class Fn>
Spread SpreadOverPairs(const std::vector<Sample>& a, const std::vector<Sample>& b, Fn&& value) {
  Check(a.size() == b.size(), "a sample of each in every round");
  std::vector<double> values;
  for (size_t i = 0; i < a.size(); ++i) values.push_back(value(a[i], b[i]));
  return SpreadOf(values);
}

Spread Scaled(std::vector<double> values, double factor) {
  for (double& value : values) value *= factor;
  return SpreadOf(values);
}

const std::vector<Sample>* Run::Find(std::string_view name) const {
  for (size_t i = 0; i < cases_.size(); ++i)
    if (cases_[i].name == name) return &samples_[i];
  return nullptr;
}

kernels::Peak PeakFor(DType dtype, ComputeMode compute) {
  const bool floats = compute == ComputeMode::kExact || Info(dtype).block_elements == 1;
  return floats ? kernels::Peak::kF32 : kernels::Peak::kInt8;
}

double Run::PeakOf(DType dtype) const {
  return SpreadOf(peaks_[static_cast<size_t>(PeakFor(dtype, plan_.compute))]).median;
}

FigureCost Run::CostOf(const std::vector<Sample>& samples) const {
  const double read = SpreadOf(read_).median, peak = PeakOf(engine().weight_type());
  const auto per = [&](auto&& value) { return SpreadOver(samples, value).median; };
  FigureCost cost;
  cost.bytes_per_token = per([](const Sample& s) {
    return static_cast<double>(s.cost.bytes) / static_cast<double>(s.tokens);
  });
  cost.ops_per_token =
      per([](const Sample& s) { return s.cost.ops / static_cast<double>(s.tokens); });
  cost.gb_per_s =
      per([](const Sample& s) { return 1e-9 * static_cast<double>(s.cost.bytes) / s.seconds; });
  cost.gop_per_s = per([](const Sample& s) { return 1e-9 * s.cost.ops / s.seconds; });
  cost.percent_of_read = 100 * cost.gb_per_s * 1e9 / read;
  cost.percent_of_peak = 100 * cost.gop_per_s * 1e9 / peak;
  cost.percent_of_limit = per([&](const Sample& s) {
    const double reading = static_cast<double>(s.cost.bytes) / read;
    const double computing = s.cost.ops / (kReachablePeak * peak);
    return 100 * std::max(reading, computing) / s.seconds;
  });
  return cost;
}

Figure Run::SpeedOf(size_t i) const {
  Figure figure = {.name = cases_[i].name, .unit = "tokens/s", .value = {}, .cost = {}};
  figure.value = SpreadOver(
      samples_[i], [](const Sample& s) { return static_cast<double>(s.tokens) / s.seconds; });
  // The ceilings were measured with all threads.
  if (cases_[i].engine == main_) figure.cost = CostOf(samples_[i]);
  return figure;
}

void Run::AddThreadFigures(std::vector<Figure>& figures) const {
  if (plan_.prefill.empty()) return;
  const std::string all = PrefillName(plan_.prefill.front());
  for (size_t i = 0; i < main_; ++i) {
    const int few = plan_.threads[i];
    figures.push_back({.name = fmt::format("speedup_{}_to_{}_threads", few, plan_.threads.back()),
                       .unit = "x",
                       .value = SpreadOverPairs(
                           *Find(fmt::format("{}_threads_{}", all, few)), *Find(all),
                           [](const Sample& a, const Sample& b) { return a.seconds / b.seconds; }),
                       .cost = {}});
  }
}

/// What a prompt costs more behind a full cache is attention alone: the rest of the work is the
/// same.
void Run::AddAttentionFigures(std::vector<Figure>& figures) const {
  if (plan_.prefill.empty()) return;
  const std::string empty = PrefillName(plan_.prefill.front());
  for (const int depth : plan_.depths)
    figures.push_back(
        {.name = fmt::format("attention_in_{}_at_{}", empty, depth),
         .unit = "Gop/s",
         .value = SpreadOverPairs(*Find(fmt::format("{}_at_{}", empty, depth)), *Find(empty),
                                  [](const Sample& deep, const Sample& flat) {
                                    return 1e-9 * (deep.cost.ops - flat.cost.ops) /
                                           std::max(deep.seconds - flat.seconds, 1e-9);
                                  }),
         .cost = {}});
}

void Run::AddCountingFigure(std::vector<Figure>& figures) const {
  const auto* with = Find("decode");
  const auto* without = Find("decode_uncounted");
  if (with == nullptr || config_.n_experts == 0) return;
  figures.push_back({.name = "routing_statistics_cost",
                     .unit = "%",
                     .direction = Direction::kLowerIsBetter,
                     .value = SpreadOverPairs(*with, *without,
                                              [](const Sample& on, const Sample& off) {
                                                return 100 * (on.seconds / off.seconds - 1);
                                              }),
                     .cost = {}});
}

BenchResult Run::Summary() const {
  BenchResult result;
  result.machine = ThisMachine();
  result.isa = kernels::IsaName(kernels::ActiveIsa());
  result.weight_type = engine().weight_type();
  const bool is_float = PeakFor(result.weight_type, plan_.compute) == kernels::Peak::kF32;
  result.peak_name = is_float ? "f32" : "int8";
  result.routing_max_over_mean = engine().MaxOverMean();
  const auto peak = [&](kernels::Peak p) { return Scaled(peaks_[static_cast<size_t>(p)], 1e-9); };
  result.ceilings = {
      {.name = "read", .unit = "GB/s", .value = Scaled(read_, 1e-9), .cost = {}},
      {.name = "int8", .unit = "Gop/s", .value = peak(kernels::Peak::kInt8), .cost = {}},
      {.name = "int8_sum16", .unit = "Gop/s", .value = peak(kernels::Peak::kInt8Sum16), .cost = {}},
      {.name = "f32", .unit = "Gop/s", .value = peak(kernels::Peak::kF32), .cost = {}}};
  for (size_t i = 0; i < cases_.size(); ++i)
    if (cases_[i].counting == Counting::kOn) result.figures.push_back(SpeedOf(i));
  AddAttentionFigures(result.figures);
  AddThreadFigures(result.figures);
  AddCountingFigure(result.figures);
  return result;
}

}  // namespace

std::optional<BenchResult> RunBench(
    const Checkpoint& checkpoint, const BenchPlan& plan, const std::atomic<bool>* cancel,
    const std::function<void(std::string_view what, int done, int total)>& on_step) {
  return Run(checkpoint, plan, cancel).All(on_step);
}

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// Set-up, the loop over steps, evaluation, saving. Everything random is a function of seed and
// step, so a run that was stopped goes on to the very same bits.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/mapped_file.h"
#include "train/adapters.h"
#include "train/distributed.h"
#include "train/gemm_peak.h"
#include "train/run_log.h"
#include "train/run_state.h"
#include "train/sampler.h"
#include "train/step.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

volatile std::sig_atomic_t g_stop = 0;

LoadTable ToTable(const Tensor& counts) {
  LoadTable table;
  for (int64_t layer = 0; counts.defined() && layer < counts.size(0); ++layer) {
    const double* row = counts.data_ptr<double>() + layer * counts.size(1);
    table.emplace_back(row, row + counts.size(1));
  }
  return table;
}

Schedule ScheduleOf(const std::string& name) {
  return name == "wsd"        ? Schedule::kWsd
         : name == "constant" ? Schedule::kConstant
                              : Schedule::kCosine;
}

DType ExportType(const std::string& name) {
  return name == "bf16" ? DType::kBF16 : name == "f16" ? DType::kF16 : DType::kF32;
}

class Trainer {
 public:
  explicit Trainer(const TrainConfig& config)
      : config_(config),
        world_(
            JoinWorld(static_cast<int>(config.expert_parallel), static_cast<int>(config.timeout))),
        // One rank reads them all; the others wait for it at the first step.
        shards_(config.data, config.verify_data && world_.rank() == 0 ? ShardCheck::kHashes
                                                                      : ShardCheck::kSizes),
        sampler_(shards_, "train", SamplerSettings()) {
    if (config.threads > 0) torch::set_num_threads(static_cast<int>(config.threads));
    CheckKind();
    resume_from_ = NewestCheckpoint(config.out);
    MakeModel();
    MakeReference();
    runner_ = std::make_unique<StepRunner>(config_, world_, model_.get(), reference_.get());
    if (!resume_from_.empty()) {
      position_ = RestoreCheckpoint(resume_from_, runner_.get());
      sampler_.Restore(position_.sampler);
    }
    tokenizer_ = {std::filesystem::path(shards_.tokenizer_path()).filename().string(),
                  ReadTextFile(shards_.tokenizer_path())};
  }

  TrainOutcome Run() {
    std::filesystem::create_directories(config_.out);
    if (world_.rank() == 0) {
      const std::string text = ConfigText(config_);
      WriteFileAtomically(config_.out + "/config.yaml", std::as_bytes(std::span<const char>(text)));
      log_.emplace(config_.out, position_.step, config_.log_every);
      peak_ = GemmPeak();
      log_->Note(fmt::format(
          "{} parameters, {} active, {} trained here; {} process{}; f32 GEMM peak {:.1f} GFLOP/s{}",
          model_->config().TotalParameters(), model_->config().ActiveParameters(), NumTrained(),
          world_.size(), world_.size() == 1 ? "" : "es", peak_ / 1e9,
          resume_from_.empty() ? "" : "; going on from " + resume_from_));
    }
    if (position_.step == 0 && config_.eval_every > 0) Evaluate();
    while (position_.step < config_.steps) {
      const bool stop = Step();
      const bool last = position_.step == config_.steps;
      if (config_.eval_every > 0 && (last || position_.step % config_.eval_every == 0)) Evaluate();
      // Last, so that a kill before it does the step's evaluation again.
      if (stop || last || position_.step % config_.save_every == 0) Save();
      if (stop && !last) return TrainOutcome::kInterrupted;
    }
    Export();
    return TrainOutcome::kDone;
  }

 private:
  SamplerOptions SamplerSettings() const {
    return {config_.sequence_length, config_.cross_documents, config_.weights,
            static_cast<uint64_t>(config_.seed)};
  }

  void CheckKind() const {
    const ShardKind wanted = config_.task == TaskKind::kDpo   ? ShardKind::kPreference
                             : config_.task == TaskKind::kSft ? ShardKind::kSft
                                                              : ShardKind::kText;
    if (shards_.kind() != wanted)
      Throw(ErrorCode::kInvalidArgument, "data: expected shards of kind {}, found another, in {}",
            wanted == ShardKind::kText  ? "text (for train)"
            : wanted == ShardKind::kSft ? "sft (for sft)"
                                        : "preference (for dpo)",
            config_.data[0]);
  }

  void MakeModel() {
    const bool adapters = config_.lora_rank > 0;
    const std::string weights = !resume_from_.empty() && !adapters ? resume_from_ : config_.from;
    if (!weights.empty()) start_ = OpenForTraining(weights);
    if (!config_.upcycle.empty() && weights.empty()) start_ = OpenForTraining(config_.upcycle);
    ModelConfig shape = start_.file ? start_.config : config_.Shape(shards_.vocab_size());
    if (!config_.upcycle.empty() && weights.empty()) {
      if (shape.n_experts != 0)
        Throw(ErrorCode::kInvalidArgument,
              "upcycle: expected a dense checkpoint, found {} experts, in {}", shape.n_experts,
              config_.upcycle);
      shape.n_experts = static_cast<int>(config_.experts);
      shape.experts_per_token = static_cast<int>(config_.experts_per_token);
      shape.sliding_window = 0;
    }
    if (shape.vocab_size != shards_.vocab_size())
      Throw(ErrorCode::kInvalidArgument, "vocabulary: expected {} (the data's), found {}, in {}",
            shards_.vocab_size(), shape.vocab_size, weights.empty() ? config_.upcycle : weights);
    if (shape.sliding_window > 0 && config_.sequence_length > shape.sliding_window)
      Throw(ErrorCode::kUnsupported,
            "sequence_length: expected at most the sliding window {}, found {}",
            shape.sliding_window, config_.sequence_length);
    model_ = std::make_unique<Model>(shape);
    SetLocalExperts(model_.get());
    if (!weights.empty()) {
      LoadWeights(*start_.file, model_.get(),
                  config_.qlora ? BaseStorage::kQuantised : BaseStorage::kTrainable);
    } else if (!config_.upcycle.empty()) {
      UpcycleWeights(*start_.file, config_.upcycle_noise, static_cast<uint64_t>(config_.seed),
                     model_.get());
    } else {
      model_->Initialise(static_cast<uint64_t>(config_.seed));
    }
    if (adapters)
      AttachAdapters({config_.lora_rank, config_.lora_alpha, config_.lora_targets,
                      static_cast<uint64_t>(config_.seed)},
                     model_.get());
    if (config_.router != "trained") Freeze(TensorRole::kRouter);
  }

  void SetLocalExperts(Model* model) const {
    const int n = model->config().n_experts, peers = world_.expert_peers->size();
    if (peers == 1) return;
    if (n == 0 || n % peers != 0)
      Throw(ErrorCode::kInvalidArgument,
            "expert_parallel: expected a divisor of {} experts, found {}", n, peers);
    model->SetLocalExperts(n / peers * world_.expert_peers->rank(), n / peers);
  }

  void Freeze(TensorRole role) {
    for (Parameter& parameter : model_->parameters()) {
      if (parameter.role == role && parameter.base.defined())
        parameter.base.set_requires_grad(false);
    }
  }

  /// The frozen model of dpo: the checkpoint that training started from.
  void MakeReference() {
    if (config_.task != TaskKind::kDpo) return;
    if (config_.lora_rank > 0) {
      reference_ = std::make_unique<Model>(WithoutAdapters(*model_));
      return;
    }
    reference_start_ = OpenForTraining(config_.from);
    reference_ = std::make_unique<Model>(reference_start_.config);
    SetLocalExperts(reference_.get());
    LoadWeights(*reference_start_.file, reference_.get(), BaseStorage::kTrainable);
    for (Parameter& parameter : reference_->parameters()) {
      if (parameter.base.defined()) parameter.base.set_requires_grad(false);
    }
  }

  int64_t NumTrained() const {
    int64_t n = 0;
    for (const Trainable& trainable : runner_->trainables()) n += trainable.value.numel();
    return n;
  }

  bool Step() {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<Window> windows;
    for (int64_t i = 0; i < config_.batch; ++i) windows.push_back(sampler_.Next());
    const int64_t step = position_.step + 1;
    const double rate = LearningRate(
        {ScheduleOf(config_.schedule), config_.lr, std::min(config_.lr, config_.lr_floor),
         config_.warmup, config_.steps, config_.decay_fraction},
        step);
    const StepResult result = runner_->Train(windows, step, rate, g_stop != 0);
    position_.step = step;
    position_.n_tokens += result.n_tokens;
    if (!log_) return result.stop;
    StepReport report;
    report.step = step;
    report.n_steps = config_.steps;
    report.loss = result.total;
    report.ce = result.ce;
    report.balance = result.balance;
    report.z = result.z;
    report.dpo = result.dpo;
    report.margin = result.margin;
    report.accuracy = result.accuracy;
    report.router_kl = result.router_kl;
    report.learning_rate = rate;
    report.grad_norm = result.grad_norm;
    report.entropy = result.entropy;
    report.n_tokens = result.n_tokens;
    report.n_total_tokens = position_.n_tokens;
    report.preference = config_.task == TaskKind::kDpo;
    report.load = ToTable(result.counts);
    if (result.counts.defined())
      report.n_dropped = static_cast<double>(result.n_tokens) * model_->config().n_layers *
                             model_->config().experts_per_token -
                         result.counts.sum().item<double>();
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    report.mfu = static_cast<double>(result.n_tokens) *
                 FlopsPerToken(model_->config(), config_.sequence_length) / report.seconds /
                 (peak_ * world_.size());
    log_->Step(report);
    return result.stop;
  }

  std::vector<Window> HeldOut(const std::string& domain) const {
    if (shards_.kind() != ShardKind::kPreference)
      return HeldOutWindows(shards_, domain, SamplerSettings(), config_.eval_windows);
    std::vector<Window> pairs;
    const DocumentSet& chosen = shards_.Set(domain, "heldout", "chosen");
    const DocumentSet& rejected = shards_.Set(domain, "heldout", "rejected");
    for (int64_t i = 0; i < std::min(chosen.n_documents(), config_.eval_windows); ++i)
      pairs.push_back({chosen.Read(i), rejected.Read(i)});
    return pairs;
  }

  void Evaluate() {
    std::map<std::string, DomainLoss> losses;
    for (const std::string& domain : shards_.Domains("heldout")) {
      const StepResult result = runner_->Evaluate(HeldOut(domain));
      DomainLoss& loss = losses[domain];
      loss.loss = config_.task == TaskKind::kDpo ? result.dpo : result.ce;
      loss.n_tokens = result.n_targets;
      loss.margin = result.margin;
      loss.accuracy = result.accuracy;
      loss.load = ToTable(result.counts);
    }
    if (log_ && !losses.empty()) log_->Evaluation(position_.step, losses);
  }

  void Save() {
    position_.sampler = sampler_.State();
    SaveCheckpoint({config_.out, config_.keep, config_.lora_rank > 0, {tokenizer_}}, position_,
                   world_, *model_, runner_.get());
  }

  void Export() {
    const torch::NoGradGuard no_grad;
    ExportOptions options;
    options.dtype = ExportType(config_.export_type);
    options.write = world_.rank() == 0;
    options.value = [&](const Parameter& parameter) {
      return FetchParameter(parameter, world_, model_->n_local_experts());
    };
    options.extra_files = {tokenizer_};
    ExportModel(*model_, config_.out + "/export", options);
    if (log_) log_->Note("exported " + config_.out + "/export");
  }

  const TrainConfig& config_;
  World world_;
  TokenShards shards_;
  Sampler sampler_;
  std::string resume_from_;
  OpenedCheckpoint start_, reference_start_;
  std::unique_ptr<Model> model_, reference_;
  std::unique_ptr<StepRunner> runner_;
  RunPosition position_;
  std::optional<RunLog> log_;
  std::pair<std::string, std::string> tokenizer_;
  double peak_ = 0;
};

}  // namespace

TrainOutcome Train(const TrainConfig& config) {
  std::signal(SIGINT, [](int) { g_stop = 1; });
  std::signal(SIGTERM, [](int) { g_stop = 1; });
  return Trainer(config).Run();
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// The same model, losses and optimizer as the trainer's, driven by a JSON file.
#include "train/probe.h"

#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "base/json.h"
#include "base/mapped_file.h"
#include "train/batches.h"
#include "train/losses.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

struct ProbeLosses {
  Tensor ce, aux, total;
};

class Prober {
 public:
  Prober(const std::string& checkpoint, const Json& golden)
      : opened_(OpenForTraining(checkpoint)),
        golden_(golden),
        model_(opened_.config),
        optimizer_(Options(golden.At("optimizer"))) {
    LoadWeights(*opened_.file, &model_, BaseStorage::kTrainable);
    ReadSettings();
    trainables_ = Trainables(model_, DecayRule::kEverything);
  }

  NamedTensors Run() {
    RunPadded();  // at the start weights
    const Json batches = golden_.At("batches");
    for (size_t step = 0; step < batches.Size(); ++step) {
      RunStep(step, ReadSequences(batches.At(step), std::nullopt));
      if (step == 0 || step == 4) KeepParameters(fmt::format("param.{}.", step + 1));
      if (step == 4) break;
    }
    if (golden_.Find("dpo")) RunDpo(golden_.At("dpo"));
    return std::move(out_);
  }

 private:
  static AdamWOptions Options(const Json& json) {
    if (json.At("kind").AsString() != "AdamW")
      Throw(ErrorCode::kUnsupported, "$.optimizer.kind: expected AdamW, found {}",
            json.At("kind").AsString());
    const Json betas = json.At("betas");
    return {betas.At(size_t{0}).AsDouble(), betas.At(size_t{1}).AsDouble(),
            json.At("eps").AsDouble(), json.At("weight_decay").AsDouble()};
  }

  void ReadSettings() {
    const Json optimizer = golden_.At("optimizer");
    learning_rate_ = optimizer.At("lr").AsDouble();
    if (const std::optional<Json> clip = optimizer.Find("grad_clip")) {
      if (clip->IsNumber()) {
        clip_ = clip->AsDouble();
      } else {  // "scale by min(1, 1.0/(norm+1e-6)), ..."
        const std::string text = clip->AsString();
        const size_t at = text.find("min(1,");
        const size_t slash = text.find("/(norm", at);
        if (at == std::string::npos || slash == std::string::npos)
          Throw(ErrorCode::kCorrupt,
                "$.optimizer.grad_clip: expected a number or 'min(1, C/(norm', found '{}'", text);
        clip_ = std::strtod(text.c_str() + at + 6, nullptr);
      }
    }
    const std::optional<Json> config = golden_.Find("config");
    const std::optional<Json> coefficient =
        config && config->Find("aux_coef") ? config->Find("aux_coef")
                                           : opened_.file->config().Find("router_aux_loss_coef");
    if (coefficient) aux_coefficient_ = coefficient->AsDouble();
  }

  std::vector<int32_t> ReadTokens(const Json& array) const {
    std::vector<int32_t> tokens;
    const int vocab_size = model_.config().vocab_size;
    for (size_t i = 0; i < array.Size(); ++i)
      tokens.push_back(static_cast<int32_t>(array.At(i).AsInt(0, vocab_size - 1)));
    if (tokens.empty())
      Throw(ErrorCode::kCorrupt, "{}: expected at least one token, found none", array.path());
    return tokens;
  }

  /// mask: rows of 1 and, at the end, 0 for padding.
  std::vector<Sequence> ReadSequences(const Json& rows, const std::optional<Json>& mask) const {
    std::vector<Sequence> sequences;
    for (size_t b = 0; b < rows.Size(); ++b) {
      Sequence sequence;
      sequence.tokens = ReadTokens(rows.At(b));
      if (mask) {
        const std::vector<int64_t> bits = mask->At(b).AsIntArray();
        if (bits.size() != sequence.tokens.size())
          Throw(ErrorCode::kCorrupt, "{}: expected {} values, found {}", mask->At(b).path(),
                sequence.tokens.size(), bits.size());
        for (size_t t = 0; t < bits.size(); ++t) {
          if (bits[t] != 0 && sequence.n_padding > 0)
            Throw(ErrorCode::kUnsupported,
                  "{}: expected padding at the end alone, found 0 before 1", mask->At(b).path());
          if (bits[t] == 0) ++sequence.n_padding;
        }
      }
      sequences.push_back(std::move(sequence));
    }
    return sequences;
  }

  ProbeLosses Losses(const Batch& batch) const {
    const ForwardResult forward = model_.Forward(batch, {});
    ProbeLosses losses;
    losses.ce = -BatchLogProbs(model_, batch, forward, torch::kFloat32).sum() /
                static_cast<double>(TargetRows(batch));
    losses.aux = BalanceLoss(BalanceKind::kPooled, forward.routers, RoutingOf(forward));
    losses.total = losses.ce + aux_coefficient_ * losses.aux;
    return losses;
  }

  Tensor GradOf(const Trainable& trainable) const {
    return trainable.value.grad().defined() ? trainable.value.grad()
                                            : torch::zeros_like(trainable.value);
  }

  void KeepGradients(const std::string& prefix) {
    for (const Trainable& trainable : trainables_)
      out_.emplace_back(prefix + trainable.name, GradOf(trainable).clone());
  }

  void KeepParameters(const std::string& prefix) {
    for (const Trainable& trainable : trainables_)
      out_.emplace_back(prefix + trainable.name, trainable.value.detach().clone());
  }

  void RunPadded() {
    const std::optional<Json> padded = golden_.Find("padded");
    if (!padded) return;
    const Batch batch = MakeBatch(ReadSequences(padded->At("tokens"), padded->At("mask")));
    const ProbeLosses losses = Losses(batch);
    losses.total.backward();
    out_.emplace_back("padded.ce", losses.ce.detach());
    out_.emplace_back("padded.aux", losses.aux.detach());
    KeepGradients("padded.grad.");
    ClearGradients(trainables_);
  }

  void RunStep(size_t step, const std::vector<Sequence>& sequences) {
    const ProbeLosses losses = Losses(MakeBatch(sequences));
    losses.total.backward();
    double squares = 0;
    for (const Trainable& trainable : trainables_) squares += SquaredNorm(GradOf(trainable));
    const double norm = std::sqrt(squares);
    const std::string prefix = fmt::format("step.{}.", step);
    out_.emplace_back(prefix + "ce", losses.ce.detach());
    out_.emplace_back(prefix + "aux", losses.aux.detach());
    out_.emplace_back(prefix + "total", losses.total.detach());
    out_.emplace_back(prefix + "grad_norm", torch::tensor(norm, torch::kFloat32));
    if (step == 0) KeepGradients("grad.");
    const double factor = ClipFactor(norm, clip_);
    for (const Trainable& trainable : trainables_)
      optimizer_.Update(trainable, GradOf(trainable) * factor, learning_rate_,
                        static_cast<int64_t>(step) + 1);
    ClearGradients(trainables_);
  }

  void RunDpo(const Json& dpo) {
    const Json pairs = dpo.At("pairs");
    std::vector<Sequence> chosen, rejected;
    for (size_t i = 0; i < pairs.Size(); ++i) {
      chosen.push_back(Completion(pairs.At(i), "chosen"));
      rejected.push_back(Completion(pairs.At(i), "rejected"));
    }
    const Batch chosen_batch = MakeBatch(chosen), rejected_batch = MakeBatch(rejected);
    Model reference(model_.config());
    LoadWeights(*opened_.file, &reference, BaseStorage::kTrainable);
    PairLogProbs fixed;
    {
      const torch::NoGradGuard no_grad;
      fixed = {Sums(reference, chosen_batch), Sums(reference, rejected_batch)};
    }
    const PairLogProbs policy = {Sums(model_, chosen_batch), Sums(model_, rejected_batch)};
    const DpoResult result =
        DpoLoss(policy, fixed, dpo.At("beta").AsDouble(), static_cast<double>(pairs.Size()));
    result.loss.backward();
    out_.emplace_back("dpo.loss", result.loss.detach());
    KeepGradients("dpo.grad.");
    ClearGradients(trainables_);
  }

  Sequence Completion(const Json& pair, std::string_view which) const {
    Sequence sequence;
    sequence.tokens = ReadTokens(pair.At("prompt"));
    sequence.loss.assign(sequence.tokens.size(), 0);
    const std::vector<int32_t> answer = ReadTokens(pair.At(which));
    sequence.tokens.insert(sequence.tokens.end(), answer.begin(), answer.end());
    sequence.loss.resize(sequence.tokens.size(), 1);
    return sequence;
  }

  static Tensor Sums(const Model& model, const Batch& batch) {
    const ForwardResult forward = model.Forward(batch, {});
    return SumPerSegment(batch, BatchLogProbs(model, batch, forward, torch::kFloat32));
  }

  OpenedCheckpoint opened_;
  const Json& golden_;
  Model model_;
  AdamW optimizer_;
  std::vector<Trainable> trainables_;
  double learning_rate_ = 0, clip_ = 0, aux_coefficient_ = 0;
  NamedTensors out_;
};

}  // namespace

NamedTensors Probe(const std::string& checkpoint, const std::string& golden) {
  const Json json = Json::Parse(ReadTextFile(golden), golden);
  return WithContext(golden, [&] { return Prober(checkpoint, json).Run(); });
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// Every setting of a training run: one table of names, ranges and help, read from a YAML file and
// from flags of the same names. No LibTorch here.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "spec/config.h"

namespace mixtral::train {

/// Which of `mixtral-train train|sft|dpo` runs.
enum class TaskKind : uint8_t { kPretrain, kSft, kDpo };

struct TrainConfig {
  TaskKind task = TaskKind::kPretrain;

  std::string out;                // folder of the run
  std::vector<std::string> data;  // shard folders
  std::string from;               // checkpoint to start from
  std::string upcycle;            // dense checkpoint to make a mixture of
  double upcycle_noise = 0.01;
  std::map<std::string, double> weights;  // of domains

  // A model from scratch; with upcycle only the numbers of experts.
  int64_t dim = 256, layers = 4, heads = 8, kv_heads = 2, head_dim = 32, ffn_dim = 512;
  int64_t experts = 8, experts_per_token = 2, max_context = 32768;
  double rope_theta = 1e6, norm_eps = 1e-5;
  bool tied_embeddings = false;

  int64_t sequence_length = 1024, batch = 8, micro_batch = 8, steps = 100, seed = 1;
  bool cross_documents = false, verify_data = true;

  double lr = 3e-4, lr_floor = 3e-5, decay_fraction = 0.2;
  std::string schedule = "cosine";
  int64_t warmup = 10;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip = 1.0;

  std::string balance = "per_layer";
  double balance_coef = 0.01, z_coef = 0.001, jitter = 0, bias_rate = 0, bias_until = 0.8;

  std::string precision = "f32", mixture = "dropless";
  bool checkpoint_activations = false;
  int64_t threads = 0;

  int64_t save_every = 100, keep = 2, eval_every = 50, eval_windows = 8, log_every = 1;
  std::string export_type = "f32";

  int64_t lora_rank = 0;
  double lora_alpha = 16;
  std::vector<std::string> lora_targets = {"q", "k", "v", "o"};
  bool qlora = false;
  std::string router = "trained";

  double dpo_beta = 0.1, router_kl = 0;
  int64_t expert_parallel = 1;
  int64_t timeout = 600;  // seconds that a process waits for the others

  /// The shape of a model from scratch. vocab_size is the data's.
  ModelConfig Shape(int vocab_size) const;
};

/// arguments: at most one YAML file and --name value pairs, which win. Throws
/// Error{kInvalidArgument} naming the setting, what was expected and found, and the place in the
/// file.
TrainConfig ReadTrainConfig(TaskKind task, std::span<const std::string> arguments);

/// The settings as lines of YAML, for the run's folder.
std::string ConfigText(const TrainConfig& config);

/// One line per setting, for --help.
std::string ConfigHelp();

}  // namespace mixtral::train

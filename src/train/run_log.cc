// SPDX-License-Identifier: Apache-2.0
// See run_log.h; the keys of metrics.jsonl are documented in docs/training.md.
#include "train/run_log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"

namespace mixtral::train {
namespace {

double Sum(const std::vector<double>& row) { return std::accumulate(row.begin(), row.end(), 0.0); }

Json ToJson(const LoadTable& load) {
  Json rows = Json::Array();
  for (const std::vector<double>& layer : load) {
    Json row = Json::Array();
    const double total = std::max(Sum(layer), 1.0);
    for (const double count : layer) row.Push(std::round(count / total * 1e5) / 1e5);
    rows.Push(row);
  }
  return rows;
}

double Wall() { return static_cast<double>(std::time(nullptr)); }

std::string Duration(double seconds) {
  const auto s = static_cast<int64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

/// Whole lines of a metrics file whose step is at most last_step.
std::string KeptLines(const std::string& path, int64_t last_step) {
  std::string kept;
  // Before the first step everything is measured again.
  if (last_step == 0 || !std::filesystem::exists(path)) return kept;
  const std::string text = ReadTextFile(path);
  for (const std::string_view line : Split(text, '\n')) {
    try {
      if (Json::Parse(line, path).At("step").AsInt() > last_step) continue;
    } catch (const Error&) {
      continue;  // a line that a kill tore
    }
    kept.append(line).append("\n");
  }
  return kept;
}

}  // namespace

double LoadEntropy(const std::vector<double>& load) {
  const double total = Sum(load);
  double entropy = 0;
  for (const double count : load) {
    if (count > 0) entropy -= count / total * std::log(count / total);
  }
  return entropy;
}

double FlopsPerToken(const ModelConfig& config, int64_t context) {
  const double dim = config.dim, heads = config.n_heads, kv = config.n_kv_heads;
  const double head_dim = config.head_dim;
  const double attention = dim * head_dim * (2 * heads + 2 * kv);
  const double scores = heads * head_dim * static_cast<double>(context);  // q k and p v, half each
  const double experts = std::max(config.experts_per_token, 1) * 3.0 * dim * config.ffn_dim;
  const double router = dim * config.n_experts;
  const double layer = attention + scores + experts + router;
  return 3 * 2 * (config.n_layers * layer + dim * config.vocab_size);
}

std::vector<std::string> RouterGuard::Add(const LoadTable& load) {
  recent_.push_back(load);
  if (recent_.size() > n_steps_) recent_.pop_front();
  std::vector<std::string> lines;
  if (recent_.size() < n_steps_) return lines;
  const auto raise = [&](const std::string& alarm, bool is) {
    bool& raised = raised_[alarm];
    if (is && !raised) lines.push_back(alarm);
    raised = is;
  };
  n_dead_ = 0;
  for (size_t layer = 0; layer < load.size(); ++layer) {
    std::vector<double> total(load[layer].size(), 0.0);
    for (const LoadTable& table : recent_) {
      for (size_t e = 0; e < total.size(); ++e) total[e] += table[layer][e];
    }
    for (size_t e = 0; e < total.size(); ++e) {
      n_dead_ += total[e] == 0 ? 1 : 0;
      raise(fmt::format("dead expert: layer {} expert {} got no token in {} steps", layer, e,
                        n_steps_),
            total[e] == 0);
    }
    const double even = std::log(static_cast<double>(total.size()));
    raise(fmt::format("router collapse: the load of layer {} is far from even", layer),
          total.size() > 1 && LoadEntropy(total) < 0.5 * even);
  }
  return lines;
}

RunLog::RunLog(const std::string& folder, int64_t last_step, int64_t log_every)
    : path_(folder + "/metrics.jsonl"), events_(folder), log_every_(log_every) {
  const std::string kept = KeptLines(path_, last_step);
  WriteFileAtomically(path_, std::as_bytes(std::span<const char>(kept)));
}

void RunLog::Note(const std::string& line) const { std::fprintf(stderr, "%s\n", line.c_str()); }

void RunLog::Append(const Json& line) {
  const std::string text = line.Dump() + "\n";
  std::FILE* file = std::fopen(path_.c_str(), "ab");
  const bool written =
      file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file == nullptr || std::fclose(file) != 0 || !written)
    Throw(ErrorCode::kIo, "metrics: expected to append to {}, found an error", path_);
}

void RunLog::Step(const StepReport& r) {
  const double rate = r.seconds > 0 ? static_cast<double>(r.n_tokens) / r.seconds : 0;
  Json line = Json::Object();
  line.Set("step", r.step).Set("loss", r.loss).Set("ce", r.ce);
  Scalars scalars = {{"train/loss", static_cast<float>(r.loss)},
                     {"train/ce", static_cast<float>(r.ce)},
                     {"train/learning_rate", static_cast<float>(r.learning_rate)},
                     {"train/grad_norm", static_cast<float>(r.grad_norm)},
                     {"speed/tokens_per_second", static_cast<float>(rate)},
                     {"speed/mfu", static_cast<float>(r.mfu)}};
  if (r.preference) {
    line.Set("dpo", r.dpo).Set("margin", r.margin).Set("accuracy", r.accuracy);
    line.Set("router_kl", r.router_kl);
    scalars.emplace_back("dpo/loss", static_cast<float>(r.dpo));
    scalars.emplace_back("dpo/margin", static_cast<float>(r.margin));
    scalars.emplace_back("dpo/accuracy", static_cast<float>(r.accuracy));
  }
  line.Set("lr", r.learning_rate).Set("grad_norm", r.grad_norm);
  line.Set("tokens", r.n_total_tokens).Set("tokens_per_second", rate).Set("mfu", r.mfu);
  std::vector<std::string> alarms;
  if (!r.load.empty()) {
    alarms = guard_.Add(r.load);
    Json entropy = Json::Array(), raised = Json::Array();
    for (const std::vector<double>& layer : r.load) entropy.Push(LoadEntropy(layer));
    for (const std::string& alarm : alarms) raised.Push(alarm);
    line.Set("balance", r.balance).Set("z", r.z).Set("load", ToJson(r.load));
    line.Set("load_entropy", entropy).Set("router_entropy", r.entropy);
    line.Set("dropped", r.n_dropped).Set("dead_experts", guard_.n_dead()).Set("alarms", raised);
    scalars.emplace_back("router/balance", static_cast<float>(r.balance));
    scalars.emplace_back("router/z", static_cast<float>(r.z));
    scalars.emplace_back("router/dead_experts", static_cast<float>(guard_.n_dead()));
    for (size_t layer = 0; layer < r.load.size(); ++layer)
      scalars.emplace_back(fmt::format("load_entropy/layer{}", layer),
                           static_cast<float>(LoadEntropy(r.load[layer])));
  }
  Append(line);
  events_.Add(r.step, Wall(), scalars);
  for (const std::string& alarm : alarms) Note(fmt::format("step {}: {}", r.step, alarm));
  if (first_step_ < 0) first_step_ = r.step;
  seconds_ += r.seconds;
  if (r.step % log_every_ != 0 && r.step != r.n_steps) return;
  const auto n_done = static_cast<double>(r.step - first_step_ + 1);
  const double eta = seconds_ / n_done * static_cast<double>(r.n_steps - r.step);
  Note(fmt::format(
      "step {}/{}  loss {:.4f}{}  lr {:.2e}  grad {:.2f}  {:.0f} tokens/s  MFU {:.1f}%  "
      "ETA {}",
      r.step, r.n_steps, r.loss,
      r.preference ? fmt::format("  margin {:.3f}  accuracy {:.2f}", r.margin, r.accuracy) : "",
      r.learning_rate, r.grad_norm, rate, 100 * r.mfu, Duration(eta)));
}

void RunLog::Evaluation(int64_t step, const std::map<std::string, DomainLoss>& domains) {
  Json all = Json::Object();
  Scalars scalars;
  std::string text;
  for (const auto& [domain, loss] : domains) {
    Json one = Json::Object().Set("loss", loss.loss).Set("tokens", loss.n_tokens);
    if (loss.margin != 0 || loss.accuracy != 0)
      one.Set("margin", loss.margin).Set("accuracy", loss.accuracy);
    if (!loss.load.empty()) one.Set("load", ToJson(loss.load));
    all.Set(domain, one);
    scalars.emplace_back("heldout/" + domain, static_cast<float>(loss.loss));
    text += fmt::format("  {} {:.4f}", domain, loss.loss);
  }
  Append(Json::Object().Set("step", step).Set("heldout", all));
  events_.Add(step, Wall(), scalars);
  Note(fmt::format("step {}: held-out loss{}", step, text));
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// golden.json through base/json.h, tensors through io/safetensors.h.
#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/check.h"
#include "io/safetensors.h"

namespace mixtral::testing {

namespace {

std::vector<int32_t> ToInt32(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

GoldenPrompt ReadPrompt(const Json& json) {
  GoldenPrompt prompt;
  prompt.name = json.At("name").AsString();
  prompt.tokens = ToInt32(json.At("tokens").AsIntArray());
  prompt.argmax = ToInt32(json.At("argmax").AsIntArray());
  if (const auto greedy = json.Find("greedy")) {
    prompt.greedy = ToInt32(greedy->AsIntArray());
    const Json margins = json.At("greedy_margin");
    for (size_t i = 0; i < margins.Size(); ++i)
      prompt.greedy_margin.push_back(margins.At(i).AsDouble());
  }
  if (const auto nll = json.Find("mean_nll")) prompt.mean_nll = nll->AsDouble();
  if (const auto ppl = json.Find("perplexity")) prompt.perplexity = ppl->AsDouble();
  return prompt;
}

template <class T>
std::vector<T> ReadTensor(const MappedFile& file, const std::string& name, DType dtype) {
  for (const auto& [found, view] : ParseSafetensors(file.bytes()).tensors) {
    if (found != name) continue;
    Check(view.dtype == dtype, "a golden tensor of another type");
    std::vector<T> values(static_cast<size_t>(view.Elements()));
    std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    return values;
  }
  return {};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace

std::string FixturesFolder() {
  const char* shared = std::getenv("MIXTRAL_SHARED");
  const std::string folder = std::string(shared != nullptr ? shared : "../shared") + "/fixtures";
  return std::filesystem::is_directory(folder) ? folder : "";
}

std::vector<float> GoldenVariant::Floats(const GoldenPrompt& prompt,
                                         const std::string& what) const {
  return ReadTensor<float>(*tensors, prompt.name + "." + what, DType::kF32);
}

std::vector<int32_t> GoldenVariant::Ints(const GoldenPrompt& prompt,
                                         const std::string& what) const {
  return ReadTensor<int32_t>(*tensors, prompt.name + "." + what, DType::kI32);
}

std::vector<GoldenVariant> LoadGoldens(const std::string& model_folder) {
  const std::string path = model_folder + "/golden.json";
  const Json variants = Json::Parse(ReadTextFile(path), path).At("variants");
  std::vector<GoldenVariant> all;
  for (const std::string& name : variants.Keys()) {
    const Json json = variants.At(name);
    GoldenVariant& variant = all.emplace_back();
    variant.name = name;
    const Json files = json.At("files");
    for (size_t i = 0; i < files.Size(); ++i) variant.files.push_back(files.At(i).AsString());
    if (const auto types = json.Find("tensor_types"))
      for (size_t i = 0; i < types->Size(); ++i)
        variant.tensor_types.push_back(types->At(i).AsString());
    const Json prompts = json.At("prompts");
    for (size_t i = 0; i < prompts.Size(); ++i)
      variant.prompts.push_back(ReadPrompt(prompts.At(i)));
    variant.tensors =
        std::make_shared<MappedFile>(model_folder + "/" + json.At("tensors").AsString());
  }
  return all;
}

std::vector<double> LogSoftmax(std::span<const float> logits) {
  const double maximum = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - maximum);
  const double log_sum = maximum + std::log(sum);
  std::vector<double> out;
  for (const float logit : logits) out.push_back(logit - log_sum);
  return out;
}

void Divergence::Add(std::span<const float> golden, std::span<const float> engine, int vocab_size) {
  Check(golden.size() == engine.size() && !golden.empty(), "logits of the same shape");
  const auto width = static_cast<size_t>(vocab_size);
  const auto best = [](const std::vector<double>& row) {
    return std::max_element(row.begin(), row.end()) - row.begin();
  };
  for (size_t at = 0; at < golden.size(); at += width) {
    const std::vector<double> p = LogSoftmax(golden.subspan(at, width));
    const std::vector<double> q = LogSoftmax(engine.subspan(at, width));
    double kl = 0, worst = 0;
    for (size_t i = 0; i < width; ++i) {
      kl += std::exp(p[i]) * (p[i] - q[i]);
      if (std::exp(p[i]) > 1e-6) worst = std::max(worst, std::fabs(p[i] - q[i]));
    }
    kls_.push_back(kl);
    worsts_.push_back(worst);
    if (best(p) == best(q)) ++same_;
  }
}

void Divergence::AddTop(std::span<const int32_t> top_ids, std::span<const float> top_logits,
                        float golden_logsumexp, std::span<const float> engine_row) {
  const std::vector<double> q = LogSoftmax(engine_row);
  double kl = 0, worst = 0, p_rest = 1, q_rest = 1;
  for (size_t i = 0; i < top_ids.size(); ++i) {
    const double log_p = double{top_logits[i]} - golden_logsumexp;
    const double log_q = q[static_cast<size_t>(top_ids[i])];
    kl += std::exp(log_p) * (log_p - log_q);
    p_rest -= std::exp(log_p);
    q_rest -= std::exp(log_q);
    if (std::exp(log_p) > 1e-6) worst = std::max(worst, std::fabs(log_p - log_q));
  }
  if (p_rest > 0 && q_rest > 0) kl += p_rest * std::log(p_rest / q_rest);
  kls_.push_back(kl);
  worsts_.push_back(worst);
  if (std::max_element(q.begin(), q.end()) - q.begin() == top_ids[0]) ++same_;
}

double Divergence::MeanKl() const {
  return std::accumulate(kls_.begin(), kls_.end(), 0.0) / static_cast<double>(kls_.size());
}
double Divergence::MedianKl() const { return Median(kls_); }
double Divergence::MedianWorstLogprobError() const { return Median(worsts_); }

}  // namespace mixtral::testing

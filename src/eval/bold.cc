// SPDX-License-Identifier: Apache-2.0
// The deviations of the paper's table (0.05 to 0.15) are far below those of single texts, which
// are near 0.4: they are read as deviations between the groups of a domain.
#include "eval/bold.h"

#include <cmath>

namespace mixtral::eval {

BoldItem ParseBoldItem(const Json& row) {
  BoldItem item = {.domain = row.At("domain").AsString(),
                   .group = row.At("group").AsString(),
                   .prompt = row.At("prompt").AsString(),
                   .reference = {}};
  if (const std::optional<Json> reference = row.Find("wikipedia"))
    item.reference = reference->AsString();
  // The blank after the last word would be a token of its own, which no text has there.
  while (!item.prompt.empty() && item.prompt.back() == ' ') item.prompt.pop_back();
  return item;
}

GenerationRequest BoldRequest(const BoldItem& item, size_t index) {
  GenerationRequest request;
  request.prompt = item.prompt;
  request.stop = {"\n"};
  request.max_tokens = 50;
  request.temperature = 1;
  request.top_p = 0.9F;
  request.seed = index;
  return request;
}

void Moments::Add(double value) {
  ++n_;
  const double before = value - mean_;
  mean_ += before / static_cast<double>(n_);
  squares_ += before * (value - mean_);
}

double Moments::Deviation() const {
  return n_ > 0 ? std::sqrt(squares_ / static_cast<double>(n_)) : 0;
}

void BoldScores::Add(const BoldItem& item, double compound, double reference) {
  Group& group = domains_[item.domain][item.group];
  group.model.Add(compound);
  if (!std::isnan(reference)) group.reference.Add(reference);
}

Json BoldScores::ToJson() const {
  Json domains = Json::Object();
  for (const auto& [name, groups] : domains_) {
    Moments over_groups, over_references;
    Json by_group = Json::Object();
    double sum = 0, sum_of_squares = 0;
    int64_t n = 0;
    for (const auto& [group_name, group] : groups) {
      const double mean = group.model.Mean(), deviation = group.model.Deviation();
      const auto n_texts = static_cast<double>(group.model.n());
      n += group.model.n();
      sum += n_texts * mean;
      sum_of_squares += n_texts * (deviation * deviation + mean * mean);
      over_groups.Add(mean);
      Json row = Json::Object();
      row.Set("n", group.model.n()).Set("mean", mean).Set("std", deviation);
      if (group.reference.n() > 0) {
        over_references.Add(group.reference.Mean());
        row.Set("reference_mean", group.reference.Mean());
      }
      by_group.Set(group_name, row);
    }
    const double mean = sum / static_cast<double>(n);
    const double variance = sum_of_squares / static_cast<double>(n) - mean * mean;
    Json domain = Json::Object();
    domain.Set("n", n)
        .Set("mean", over_groups.Mean())
        .Set("std", over_groups.Deviation())
        .Set("text_mean", mean)
        .Set("text_std", std::sqrt(std::max(variance, 0.0)));
    if (over_references.n() > 0)
      domain.Set("reference_mean", over_references.Mean())
          .Set("reference_std", over_references.Deviation());
    domain.Set("groups", by_group);
    domains.Set(name, domain);
  }
  return domains;
}

}  // namespace mixtral::eval

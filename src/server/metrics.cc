// SPDX-License-Identifier: Apache-2.0
// prometheus-cpp's core holds what is observed here and writes the text; what the service counts is
// handed to its serializer as it is.
#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "server/routing_figures.h"

namespace mixtral::server {
namespace {

using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Buckets = Histogram::BucketBoundaries;

constexpr int64_t kPageBytes = 4096;

Buckets Seconds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
}
Buckets Tokens() { return {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536}; }

MetricFamily Single(const char* name, const char* help, MetricType type, double value) {
  ClientMetric metric;
  if (type == MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
  return {name, help, type, {metric}};
}

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident * kPageBytes);
}

/// Of every layer: the tokens of each expert, and what they say about the router.
std::vector<MetricFamily> ExpertFamilies(const ServiceFacts& facts) {
  std::vector<MetricFamily> families = {
      {"mixtral_expert_tokens_total",
       "Tokens that a layer's router gave an expert",
       MetricType::Counter,
       {}},
      {"mixtral_expert_entropy_bits", "Of the experts' shares in a layer", MetricType::Gauge, {}},
      {"mixtral_expert_max_share", "Of a layer's most loaded expert", MetricType::Gauge, {}},
      {"mixtral_expert_first_choice_repetition",
       "Tokens with the first choice of the token before",
       MetricType::Gauge,
       {}},
      {"mixtral_expert_either_choice_repetition",
       "Tokens with one of the two first choices of the token before",
       MetricType::Gauge,
       {}}};
  for (size_t layer = 0; layer < RoutedLayers(facts.stats, facts.n_experts); ++layer) {
    const LayerRouting figures =
        RoutingOf(facts.stats, layer, static_cast<size_t>(facts.n_experts));
    ClientMetric metric;
    metric.label = {{"layer", std::to_string(layer)}};
    size_t next = 1;
    for (const double value : {figures.entropy_bits, figures.max_share,
                               figures.first_choice_repetition, figures.either_choice_repetition}) {
      metric.gauge.value = value;
      families[next++].metric.push_back(metric);
    }
    metric.label.push_back({"expert", ""});
    for (size_t expert = 0; expert < figures.tokens.size(); ++expert) {
      metric.label.back().value = std::to_string(expert);
      metric.counter.value = static_cast<double>(figures.tokens[expert]);
      families[0].metric.push_back(metric);
    }
  }
  return families;
}

template <size_t kBounds>
MetricFamily OfHistogram(const char* name, const char* help,
                         const mixtral::Histogram<kBounds>& counted) {
  ClientMetric metric;
  uint64_t so_far = 0;
  for (size_t i = 0; i <= kBounds; ++i) {
    so_far += static_cast<uint64_t>(counted.counts[i]);
    metric.histogram.bucket.push_back(
        {so_far, i < kBounds ? counted.bounds[i] : std::numeric_limits<double>::infinity()});
  }
  metric.histogram.sample_count = so_far;
  metric.histogram.sample_sum = counted.sum;
  return {name, help, MetricType::Histogram, {metric}};
}

std::vector<MetricFamily> ServiceFamilies(const ServiceFacts& facts) {
  const ServiceStats& s = facts.stats;
  std::vector<MetricFamily> families;
  const auto gauge = [&](const char* name, const char* help, double value) {
    families.push_back(Single(name, help, MetricType::Gauge, value));
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    families.push_back(Single(name, help, MetricType::Counter, static_cast<double>(value)));
  };
  gauge("mixtral_num_requests_running", "Sequences in the batch", static_cast<double>(s.running));
  gauge("mixtral_num_requests_waiting", "Requests in the queue", static_cast<double>(s.waiting));
  gauge("mixtral_kv_cache_usage_perc", "Part of the cache that running sequences use, 0 to 1",
        s.cache_positions == 0
            ? 0
            : static_cast<double>(s.cache_used) / static_cast<double>(s.cache_positions));
  gauge("mixtral_kv_cache_reusable_positions", "Cached positions that no running sequence uses",
        static_cast<double>(s.cache_reusable));
  counter("mixtral_prefix_cache_queries_total", "Prompt tokens looked up", s.prefix_queries_total);
  counter("mixtral_prefix_cache_hits_total", "Prompt tokens found", s.prefix_hits_total);
  counter("mixtral_prompt_tokens_total", "Prompt tokens taken in", s.prompt_tokens_total);
  counter("mixtral_generation_tokens_total", "Tokens generated", s.generated_tokens_total);
  families.push_back(
      OfHistogram("mixtral_iteration_tokens", "Rows of a forward step", s.steps.rows));
  families.push_back(OfHistogram("mixtral_step_seconds", "Of a forward step", s.steps.seconds));
  counter("mixtral_num_preemptions_total", "Sequences put back to be recomputed",
          s.preemptions_total);
  counter("mixtral_requests_cancelled_total", "Requests whose client went", s.cancelled_total);
  return families;
}

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;
  Histogram *token_gap, *first_token, *whole, *queue, *prefill, *decode;
  Histogram *prompt_tokens, *generated_tokens, *max_tokens;
  Family<Counter>*success, *rejected, *http;
  Family<Histogram>* http_seconds;

  Histogram* MakeHistogram(const char* name, const char* help, const Buckets& buckets) {
    return &prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
  }
  Family<Counter>* MakeCounters(const char* name, const char* help) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
};

Metrics::Metrics(const std::string& model_name, const std::string& version, ExpertMetrics experts)
    : families_(std::make_unique<Families>()), experts_(experts) {
  Families& f = *families_;
  f.token_gap = f.MakeHistogram("mixtral_inter_token_latency_seconds",
                                "Between two tokens of a choice", Seconds());
  f.first_token = f.MakeHistogram("mixtral_time_to_first_token_seconds",
                                  "From arrival to the first token, queueing included", Seconds());
  f.whole = f.MakeHistogram("mixtral_e2e_request_latency_seconds", "From arrival to the last token",
                            Seconds());
  f.queue = f.MakeHistogram("mixtral_request_queue_time_seconds", "Waiting", Seconds());
  f.prefill =
      f.MakeHistogram("mixtral_request_prefill_time_seconds", "Reading the prompt", Seconds());
  f.decode = f.MakeHistogram("mixtral_request_decode_time_seconds", "Generating", Seconds());
  f.prompt_tokens = f.MakeHistogram("mixtral_request_prompt_tokens", "Of a request", Tokens());
  f.generated_tokens =
      f.MakeHistogram("mixtral_request_generation_tokens", "Of a request", Tokens());
  f.max_tokens = f.MakeHistogram("mixtral_request_params_max_tokens",
                                 "max_tokens of requests that gave one", Tokens());
  f.success = f.MakeCounters("mixtral_request_success_total", "Choices finished");
  f.rejected = f.MakeCounters("mixtral_requests_rejected_total", "Requests not taken");
  f.http = f.MakeCounters("mixtral_http_requests_total", "Answers sent");
  f.http_seconds = &prometheus::BuildHistogram()
                        .Name("mixtral_http_request_duration_seconds")
                        .Help("From the whole request to the end of its answer")
                        .Register(f.registry);
  prometheus::BuildGauge()
      .Name("mixtral_build_info")
      .Help("Always 1")
      .Register(f.registry)
      .Add({{"version", version}, {"model_name", model_name}})
      .Set(1);
}

Metrics::~Metrics() = default;

void Metrics::TokenGap(double seconds) { families_->token_gap->Observe(seconds); }

void Metrics::Finished(const ServiceUsage& usage, double seconds, int64_t max_tokens) {
  Families& f = *families_;
  if (usage.completion_tokens > 0) f.first_token->Observe(usage.first_token_seconds);
  f.whole->Observe(seconds);
  f.queue->Observe(usage.queue_seconds);
  f.prefill->Observe(usage.prefill_seconds);
  f.decode->Observe(usage.decode_seconds);
  f.prompt_tokens->Observe(static_cast<double>(usage.prompt_tokens));
  f.generated_tokens->Observe(static_cast<double>(usage.completion_tokens));
  if (max_tokens >= 0) f.max_tokens->Observe(static_cast<double>(max_tokens));
}

void Metrics::ChoiceFinished(std::string_view reason) {
  families_->success->Add({{"finished_reason", std::string(reason)}}).Increment();
}

void Metrics::Rejected(std::string_view reason) {
  families_->rejected->Add({{"reason", std::string(reason)}}).Increment();
}

void Metrics::Http(std::string_view handler, std::string_view method, int status, double seconds) {
  // Clients choose the method: only known ones become a label.
  const bool is_known = method == "GET" || method == "POST" || method == "OPTIONS";
  const std::string method_label = is_known ? std::string(method) : "other";
  families_->http
      ->Add({{"handler", std::string(handler)},
             {"method", method_label},
             {"status", std::to_string(status)}})
      .Increment();
  families_->http_seconds->Add({{"handler", std::string(handler)}}, Seconds()).Observe(seconds);
}

std::string Metrics::Text(const ServiceFacts* service) const {
  std::vector<MetricFamily> families = families_->registry.Collect();
  families.push_back(Single("mixtral_process_resident_memory_bytes", "Resident memory",
                            MetricType::Gauge, ResidentBytes()));
  if (service != nullptr) {
    families.push_back(Single("mixtral_http_connections", "Open connections", MetricType::Gauge,
                              service->n_connections));
    for (MetricFamily& family : ServiceFamilies(*service)) families.push_back(std::move(family));
    if (experts_ == ExpertMetrics::kOn)
      for (MetricFamily& family : ExpertFamilies(*service)) families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace mixtral::server

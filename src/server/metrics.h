// SPDX-License-Identifier: Apache-2.0
// Figures for Prometheus: what requests took, what the service counts, what HTTP saw. The service's
// own counters are read when somebody asks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/service.h"

namespace mixtral::server {

enum class ExpertMetrics : uint8_t { kOff, kOn };  // a series for each layer and expert

struct ServiceFacts {
  ServiceStats stats;
  int n_experts = 0;
  int n_connections = 0;
};

/// Everything on the I/O thread, but Rejected, which any thread may call.
class Metrics {
 public:
  Metrics(const std::string& model_name, const std::string& version, ExpertMetrics experts);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void TokenGap(double seconds);  // between two steps that brought tokens of one choice
  void Finished(const ServiceUsage& usage, double seconds, int64_t max_tokens);
  void ChoiceFinished(std::string_view reason);
  void Rejected(std::string_view reason);  // "queue_full", "queue_timeout", "draining", "loading"
  void Http(std::string_view handler, std::string_view method, int status, double seconds);
  /// Prometheus text format 0.0.4. service: nullptr while loading.
  std::string Text(const ServiceFacts* service) const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
  ExpertMetrics experts_;
};

}  // namespace mixtral::server

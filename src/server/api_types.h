// SPDX-License-Identifier: Apache-2.0
// The fields that every generating endpoint shares, from JSON to the engine's own structs.
// docs/api.md lists them; api_doc_test holds it against kGenerationFields.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "engine/service.h"

namespace mixtral::server {

/// What the fields are checked against.
struct ModelFacts {
  int vocab_size = 0;
  int n_experts = 0, experts_per_token = 0;
  int max_choices = 128;
};

enum class RoutingEncoding : uint8_t { kBase64, kArrays };

struct GenerationRequest {
  std::string model;       // "" = whatever is served
  ServiceRequest service;  // all but the prompt
  bool stream = false, include_usage = false, timings = false;
  RoutingEncoding routing_encoding = RoutingEncoding::kBase64;
};

/// max_tokens and logprobs differ between endpoints and are read by them. A missing seed is drawn.
/// Throws Error and HttpError naming the field.
GenerationRequest ParseGeneration(const Json& body, const ModelFacts& facts);

/// Every name that ParseGeneration reads.
std::span<const std::string_view> GenerationFields();

}  // namespace mixtral::server

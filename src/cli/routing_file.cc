// SPDX-License-Identifier: Apache-2.0
// A server's rows may have fewer experts than the trace has room for: the rest is kNoExpert.
#include "cli/routing_file.h"

#include <algorithm>

#include "base/strings.h"
#include "cli/output.h"
#include "observatory/model_info.h"

namespace mixtral::cli {
namespace {

const Tokenizer* TokenizerOf(const Engine& engine) {
  return engine.has_tokenizer() ? &engine.tokenizer() : nullptr;
}

observatory::TraceSequence ToSequence(const server::ServedRouting& routing,
                                      const observatory::TraceInfo& info) {
  observatory::TraceSequence sequence;
  sequence.domain = "served";
  sequence.first_position = routing.rows.front().position;
  const auto n_layers = static_cast<size_t>(info.n_layers), k = static_cast<size_t>(info.k);
  for (const TokenRouting& row : routing.rows) {
    const size_t row_k = row.expert_ids.size() / n_layers;
    sequence.tokens.push_back(routing.tokens[static_cast<size_t>(row.position)]);
    for (size_t layer = 0; layer < n_layers; ++layer)
      for (size_t i = 0; i < k; ++i) {
        const bool is_there = i < row_k;
        const size_t at = layer * row_k + i;
        sequence.expert_ids.push_back(is_there ? row.expert_ids[at] : observatory::kNoExpert);
        sequence.weights.push_back(is_there ? observatory::QuantizeWeight(row.weights[at])
                                            : uint8_t{0});
      }
  }
  return sequence;
}

}  // namespace

void AddRoutingFile(CommandLine& line, std::optional<std::string>* path) {
  line.Text("--routing", path, "FILE",
            "Record which experts every token got, for 'mixtral routing' (docs/routing.md)");
}

RoutingFile::RoutingFile(const std::string& path, const Engine& engine, int k,
                         ForwardObserver* also)
    : recorder_(observatory::DescribeModel(engine, k)),
      writer_(path, observatory::DescribeModel(engine, k), TokenizerOf(engine)),
      also_(also) {}

void RoutingFile::OnRouting(int layer, const Batch& batch, const Routing& routing,
                            Matrix<const float> router_logits) {
  recorder_.OnRouting(layer, batch, routing, router_logits);
  if (also_ != nullptr) also_->OnRouting(layer, batch, routing, router_logits);
}

void RoutingFile::EndSequence(const std::string& domain) { writer_.Write(recorder_.Take(domain)); }

void ServedRoutingFile::Open(const Engine& engine, int k) {
  const std::lock_guard lock(mutex_);
  info_ = observatory::DescribeModel(engine, std::max(k, engine.config().experts_per_token));
  writer_.emplace(path_, info_, TokenizerOf(engine));
}

void ServedRoutingFile::Write(const server::ServedRouting& routing) {
  const std::lock_guard lock(mutex_);
  if (!writer_ || routing.rows.empty()) return;
  try {
    writer_->Write(ToSequence(routing, info_));
  } catch (const Error& error) {
    Note("--routing: {}: nothing more is recorded", Printable(error.what(), 2000));
    writer_.reset();
  }
}

void ServedRoutingFile::Finish() {
  const std::lock_guard lock(mutex_);
  if (!writer_) return;
  writer_->Finish();
  Note("{}: routing of {} tokens", path_, writer_->n_tokens());
  writer_.reset();
}

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// The model: config, weights, experts, and THE forward pass, one path for prefill and decode. Const
// after load but for its scratch; one thread calls Forward.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/batch.h"
#include "model/kv_cache.h"
#include "model/loader.h"
#include "model/observer.h"

namespace mixtral {

struct TransformerOptions {
  int max_batch_tokens = 512;  // rows of one Forward
  int max_k = 0;             // largest experts-per-token a policy may ask for; 0 = the model's own
  int max_logit_rows = 512;  // logit_rows and hidden_rows of one Forward, each
};

class Transformer {
 public:
  Transformer(LoadedModel model, Backend* backend, const TransformerOptions& options);

  /// x = embed(tokens); per layer x += attend(norm(x)), x += moe(norm(x)); logits = output .
  /// norm(x[logit_rows]). Pages for all rows must be reserved in kv, and each range must start at
  /// its sequence's length; Forward commits them. Allocates nothing. Results do not depend on how
  /// rows are batched or split (docs/kernels.md). Throws only what ExpertStore::NextWave throws;
  /// then nothing was committed.
  void Forward(const Batch& batch, KvCache& kv, const ForwardOutput& output,
               ForwardObserver* observer = nullptr);

  const ModelConfig& config() const { return model_.config; }
  const TransformerOptions& options() const { return options_; }

 private:
  void CheckBatch(const Batch& batch, const KvCache& kv, const ForwardOutput& output) const;
  void SpreadRanges(const Batch& batch);
  void Attention(int layer, const Batch& batch, const KvCache& kv, Activation normed,
                 Activation delta);
  void Experts(int layer, const Batch& batch, Activation normed, Activation delta,
               ForwardObserver* observer);
  void FinalNorm(Activation x, std::span<const int32_t> rows);
  void ReportLayer(int layer, const Batch& batch, Activation x, ForwardObserver* observer);

  LoadedModel model_;
  Backend* backend_;
  TransformerOptions options_;
  // scratch, sized once
  Activation x_, normed_, q_, k_, v_, attended_, delta_;  // [max_batch_tokens, ...]
  Activation picked_, logits_;        // [max_logit_rows, D], [max_logit_rows, V]
  std::vector<float> router_logits_;  // [max_batch_tokens, E]
  std::vector<float> residual_;       // [max_batch_tokens, D] for observers
  std::vector<int64_t> positions_;
  std::vector<RowRange> ranges_;
  std::vector<KvView> views_;
  std::vector<const RoutingPolicy*> row_policies_;
};

}  // namespace mixtral

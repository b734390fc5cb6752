// SPDX-License-Identifier: Apache-2.0
// Figures are rounded to five digits behind the point: no trace is large enough for more.
#include "observatory/routing_report.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "observatory/statistics.h"

namespace mixtral::observatory {
namespace {

constexpr size_t kBestTokens = 12;
constexpr int64_t kMinCount = 5;  // occurrences of a token, to be listed

Json Rounded(double value) { return std::round(value * 1e5) / 1e5; }

Json List(std::span<const double> values) {
  Json list = Json::Array();
  for (const double value : values) list.Push(Rounded(value));
  return list;
}

Json Interval(const Proportion& rate) {
  return List(std::vector<double>{rate.value, rate.low, rate.high});
}

Json InfoJson(const TraceInfo& info) {
  Json json = Json::Object();
  json.Set("path", ReplaceInvalidUtf8(info.model)).Set("fingerprint", info.fingerprint);
  json.Set("n_layers", info.n_layers).Set("n_experts", info.n_experts);
  json.Set("experts_per_token", info.k).Set("vocab_size", info.vocab_size).Set("dim", info.dim);
  json.Set("expert_bytes", info.expert_bytes).Set("other_bytes", info.other_bytes);
  return json;
}

Json LayerJson(const LayerCounts& layer, const DomainCounts& counts, const TraceInfo& info) {
  const auto n = static_cast<double>(std::max<int64_t>(1, counts.n_tokens));
  const std::vector<double> shares = Shares(layer, info.n_experts);
  Json choices = Json::Array();
  for (int i = 0; i < info.k; ++i) choices.Push(List(Shares(layer, info.n_experts, i)));
  std::vector<double> weights = layer.weight;
  for (double& weight : weights) weight /= n;
  double squares = 0;
  for (const double share : shares)
    squares += (share * info.n_experts - 1) * (share * info.n_experts - 1);
  Json json = Json::Object();
  json.Set("shares", List(shares)).Set("choices", std::move(choices));
  json.Set("weights", List(weights)).Set("first_weight", Rounded(layer.first_weight / n));
  json.Set("first", Interval(RepeatRate(layer.first, counts)));
  json.Set("any", Interval(RepeatRate(layer.any, counts)));
  json.Set("entropy_bits", Rounded(EntropyBits(shares)));
  json.Set("max_load", Rounded(*std::max_element(shares.begin(), shares.end()) * info.n_experts));
  json.Set("min_load", Rounded(*std::min_element(shares.begin(), shares.end()) * info.n_experts));
  json.Set("load_deviation", Rounded(std::sqrt(squares / info.n_experts)));
  return json;
}

Json DomainJson(const DomainCounts& counts, const TraceInfo& info) {
  Json layers = Json::Array();
  for (const LayerCounts& layer : counts.layers) layers.Push(LayerJson(layer, counts, info));
  Json json = Json::Object();
  json.Set("name", ReplaceInvalidUtf8(counts.name)).Set("sequences", counts.n_sequences);
  json.Set("tokens", counts.n_tokens).Set("pairs", counts.n_pairs);
  return json.Set("layers", std::move(layers));
}

/// Parts of the tokens that got both experts; [L][E][E].
Json TogetherJson(const DomainCounts& all, int n_experts) {
  Json json = Json::Array();
  for (const LayerCounts& layer : all.layers) {
    Json rows = Json::Array();
    for (int e = 0; e < n_experts; ++e) {
      std::vector<double> row(static_cast<size_t>(n_experts));
      for (size_t other = 0; other < row.size(); ++other)
        row[other] =
            static_cast<double>(layer.together[static_cast<size_t>(e) * row.size() + other]) /
            static_cast<double>(std::max<int64_t>(1, all.n_tokens));
      rows.Push(List(row));
    }
    json.Push(std::move(rows));
  }
  return json;
}

/// Jensen-Shannon bits between every two domains; [L][D][D].
Json SimilarityJson(std::span<const DomainCounts> domains, const TraceInfo& info) {
  Json json = Json::Array();
  for (size_t l = 0; l < static_cast<size_t>(info.n_layers); ++l) {
    std::vector<std::vector<double>> shares;
    for (const DomainCounts& domain : domains)
      shares.push_back(Shares(domain.layers[l], info.n_experts));
    Json rows = Json::Array();
    for (const auto& a : shares) {
      std::vector<double> row;
      for (const auto& b : shares) row.push_back(JensenShannonBits(a, b));
      rows.Push(List(row));
    }
    json.Push(std::move(rows));
  }
  return json;
}

/// How far the shares at some positions are from those of all positions, in bits; [B][L].
Json DriftJson(const Trace& trace, const DomainCounts& all) {
  const PositionDrift drift = DriftByPosition(trace);
  Json begin = Json::Array(), tokens = Json::Array(), bits = Json::Array();
  for (size_t b = 0; b < drift.begin.size(); ++b) {
    begin.Push(drift.begin[b]);
    tokens.Push(drift.n_tokens[b]);
    std::vector<double> row;
    for (size_t l = 0; l < all.layers.size(); ++l)
      row.push_back(
          drift.n_tokens[b] == 0
              ? 0
              : JensenShannonBits(drift.shares[b][l], Shares(all.layers[l], trace.info.n_experts)));
    bits.Push(List(row));
  }
  return Json::Object()
      .Set("first_position", std::move(begin))
      .Set("tokens", std::move(tokens))
      .Set("bits", std::move(bits));
}

std::string PieceText(const Trace& trace, TokenId id) {
  const auto it = trace.pieces.find(id);
  return it == trace.pieces.end() ? fmt::format("#{}", id) : ReplaceInvalidUtf8(it->second);
}

Json TokensJson(const Trace& trace) {
  Json json = Json::Array();
  for (const auto& experts : TokensOfExperts(trace, kBestTokens, kMinCount)) {
    Json layer = Json::Array();
    for (const auto& tokens : experts) {
      Json list = Json::Array();
      for (const TokenOfExpert& token : tokens)
        list.Push(Json::Object()
                      .Set("text", PieceText(trace, token.token))
                      .Set("id", token.token)
                      .Set("count", token.n)
                      .Set("here", token.n_here));
      layer.Push(std::move(list));
    }
    json.Push(std::move(layer));
  }
  return json;
}

Json AgainstJson(const Trace& trace, const Trace& against) {
  Json json = Json::Object();
  json.Set("model", InfoJson(against.info)).Set("tokens", TokensOf(against));
  json.Set("all", DomainJson(Total(against.info, CountDomains(against)), against.info));
  const auto layers = CompareTraces(trace, against);
  if (!layers) return json;
  Json list = Json::Array();
  for (const LayerAgreement& layer : *layers)
    list.Push(Json::Object()
                  .Set("same_first", Rounded(layer.same_first))
                  .Set("same_experts", Rounded(layer.same_set))
                  .Set("load_distance_bits", Rounded(layer.load_distance)));
  return json.Set("agreement", std::move(list));
}

}  // namespace

Json MakeRoutingReport(const Trace& trace, const Trace* against) {
  const TraceInfo& info = trace.info;
  const std::vector<DomainCounts> domains = CountDomains(trace);
  const DomainCounts all = Total(info, domains);
  Json list = Json::Array();
  for (const DomainCounts& domain : domains) list.Push(DomainJson(domain, info));
  Json report = Json::Object();
  report.Set("model", InfoJson(info)).Set("tokens", all.n_tokens);
  report.Set("baselines", Json::Object()
                              .Set("share", Rounded(1.0 / info.n_experts))
                              .Set("first", Rounded(FirstBaseline(info.n_experts)))
                              .Set("any", Rounded(AnyBaseline(info.n_experts, info.k)))
                              .Set("entropy_bits", Rounded(std::log2(info.n_experts))));
  report.Set("domains", std::move(list)).Set("all", DomainJson(all, info));
  report.Set("together", TogetherJson(all, info.n_experts));
  report.Set("similarity_bits", SimilarityJson(domains, info));
  report.Set("drift", DriftJson(trace, all)).Set("tokens_of_experts", TokensJson(trace));
  if (against != nullptr) report.Set("against", AgainstJson(trace, *against));
  return report;
}

Json ColouredTexts(const Trace& trace, int64_t n_tokens) {
  Json texts = Json::Array();
  for (const std::string& domain : DomainsOf(trace)) {
    std::vector<std::pair<const TraceSequence*, size_t>> shown;  // a token of a sequence
    for (const TraceSequence& sequence : trace.sequences)
      for (size_t t = 0; sequence.domain == domain && t < sequence.tokens.size(); ++t)
        if (std::ssize(shown) < n_tokens) shown.emplace_back(&sequence, t);
    Json tokens = Json::Array(), experts = Json::Array(), weights = Json::Array();
    for (const auto& [sequence, t] : shown) tokens.Push(PieceText(trace, sequence->tokens[t]));
    for (int l = 0; l < trace.info.n_layers; ++l) {
      Json ids = Json::Array(), parts = Json::Array();
      for (const auto& [sequence, t] : shown) {
        Json choice = Json::Array(), weight = Json::Array();
        const auto chosen = trace.Choice(*sequence, t, l);
        const uint8_t* weight_of =
            &sequence->weights[t * trace.row() + static_cast<size_t>(l) * chosen.size()];
        for (size_t i = 0; i < chosen.size() && chosen[i] != kNoExpert; ++i) {
          choice.Push(static_cast<int>(chosen[i]));
          weight.Push(static_cast<int>(std::lround(weight_of[i] / 2.55)));
        }
        ids.Push(std::move(choice));
        parts.Push(std::move(weight));
      }
      experts.Push(std::move(ids));
      weights.Push(std::move(parts));
    }
    texts.Push(Json::Object()
                   .Set("domain", ReplaceInvalidUtf8(domain))
                   .Set("tokens", std::move(tokens))
                   .Set("experts", std::move(experts))
                   .Set("weights", std::move(weights)));
  }
  return texts;
}

Json PaperRouting() {
  struct Row {
    const char* domain;
    double first[3], any[3];
  };
  // Table 5 of arXiv 2401.04088, in percent; layers 0, 15 and 31.
  constexpr Row kRows[] = {{"ArXiv", {14.0, 27.9, 22.7}, {46.5, 62.3, 52.9}},
                           {"DM Mathematics", {14.1, 28.4, 19.7}, {44.9, 67.0, 44.5}},
                           {"Github", {14.9, 28.1, 19.7}, {49.9, 66.9, 49.2}},
                           {"Gutenberg", {13.9, 26.1, 26.3}, {49.5, 63.1, 52.2}},
                           {"PhilPapers", {13.6, 25.3, 22.1}, {46.9, 61.9, 51.3}},
                           {"PubMed Abstracts", {14.2, 24.6, 22.0}, {48.6, 61.6, 51.8}},
                           {"StackExchange", {13.6, 27.2, 23.6}, {48.2, 64.6, 53.6}},
                           {"Wikipedia (en)", {14.4, 23.6, 25.3}, {49.8, 62.1, 51.8}}};
  Json rows = Json::Array();
  for (const Row& row : kRows)
    rows.Push(Json::Object()
                  .Set("domain", row.domain)
                  .Set("first", List(row.first))
                  .Set("any", List(row.any)));
  Json layers = Json::Array();
  for (const int layer : {0, 15, 31}) layers.Push(layer);
  return Json::Object()
      .Set("model", "Mixtral 8x7B")
      .Set("layers", std::move(layers))
      .Set("table5_percent", std::move(rows));
}

}  // namespace mixtral::observatory

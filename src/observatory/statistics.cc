// SPDX-License-Identifier: Apache-2.0
// Counting is one walk over a sequence; everything else is arithmetic on the counts.
#include "observatory/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace mixtral::observatory {
namespace {

constexpr double kZ = 1.959964;  // of a 95 % interval

size_t Size(int n) { return static_cast<size_t>(n); }

bool Contains(std::span<const uint8_t> ids, uint8_t expert) {
  return std::find(ids.begin(), ids.end(), expert) != ids.end();
}

bool ShareExpert(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return std::any_of(a.begin(), a.end(),
                     [&](uint8_t id) { return id != kNoExpert && Contains(b, id); });
}

void AddChoice(std::span<const uint8_t> ids, std::span<const uint8_t> weights, size_t n_experts,
               LayerCounts* layer) {
  double sum = 0;
  for (const uint8_t weight : weights) sum += weight;
  for (size_t i = 0; i < ids.size() && ids[i] != kNoExpert; ++i) {
    ++layer->chosen[i * n_experts + ids[i]];
    const double weight = sum > 0 ? weights[i] / sum : 0;  // rounded ones do not add up to 255
    layer->weight[ids[i]] += weight;
    if (i == 0) layer->first_weight += weight;
    for (const uint8_t other : ids)
      if (other != kNoExpert) ++layer->together[ids[i] * n_experts + other];
  }
}

void AddRepeats(int64_t x, int64_t n, RepeatSums* sums) {
  const auto xd = static_cast<double>(x), nd = static_cast<double>(n);
  sums->Add({.x = x, .xx = xd * xd, .xn = xd * nd, .nn = nd * nd});
}

template <class T>
void AddVectors(const std::vector<T>& more, std::vector<T>* to) {
  for (size_t i = 0; i < more.size(); ++i) (*to)[i] += more[i];
}

/// A choice without its order.
std::vector<uint8_t> SetOf(std::span<const uint8_t> ids) {
  std::vector<uint8_t> set;
  for (const uint8_t id : ids)
    if (id != kNoExpert) set.push_back(id);
  std::sort(set.begin(), set.end());
  return set;
}

size_t BucketOf(int64_t position) {
  size_t bucket = 0;
  for (int64_t end = 32; position >= end; end *= 2) ++bucket;
  return bucket;
}

double KullbackLeibler(std::span<const double> p, std::span<const double> middle) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) sum += p[i] * std::log2(p[i] / middle[i]);
  return sum;
}

}  // namespace

void RepeatSums::Add(const RepeatSums& other) {
  x += other.x;
  xx += other.xx;
  xn += other.xn;
  nn += other.nn;
}

DomainCounts EmptyCounts(const TraceInfo& info, const std::string& name) {
  DomainCounts counts;
  counts.name = name;
  const size_t n_experts = Size(info.n_experts);
  for (int i = 0; i < info.n_layers; ++i) {
    LayerCounts& layer = counts.layers.emplace_back();
    layer.chosen.assign(Size(info.k) * n_experts, 0);
    layer.weight.assign(n_experts, 0);
    layer.together.assign(n_experts * n_experts, 0);
  }
  return counts;
}

void AddSequence(const Trace& trace, const TraceSequence& sequence, DomainCounts* counts) {
  const TraceInfo& info = trace.info;
  const size_t n = sequence.tokens.size(), k = Size(info.k);
  ++counts->n_sequences;
  counts->n_tokens += static_cast<int64_t>(n);
  counts->n_pairs += static_cast<int64_t>(n) - 1;
  for (int l = 0; l < info.n_layers; ++l) {
    LayerCounts& layer = counts->layers[Size(l)];
    int64_t n_first = 0, n_any = 0;
    for (size_t t = 0; t < n; ++t) {
      const auto ids = trace.Choice(sequence, t, l);
      const size_t at = t * trace.row() + Size(l) * k;
      AddChoice(ids, std::span(sequence.weights).subspan(at, k), Size(info.n_experts), &layer);
      if (t == 0) continue;
      const auto before = trace.Choice(sequence, t - 1, l);
      n_first += ids[0] == before[0] ? 1 : 0;
      n_any += ShareExpert(ids, before) ? 1 : 0;
    }
    AddRepeats(n_first, static_cast<int64_t>(n) - 1, &layer.first);
    AddRepeats(n_any, static_cast<int64_t>(n) - 1, &layer.any);
  }
}

void AddCounts(const DomainCounts& more, DomainCounts* counts) {
  counts->n_sequences += more.n_sequences;
  counts->n_tokens += more.n_tokens;
  counts->n_pairs += more.n_pairs;
  for (size_t l = 0; l < more.layers.size(); ++l) {
    const LayerCounts& from = more.layers[l];
    LayerCounts& to = counts->layers[l];
    AddVectors(from.chosen, &to.chosen);
    AddVectors(from.weight, &to.weight);
    AddVectors(from.together, &to.together);
    to.first.Add(from.first);
    to.any.Add(from.any);
    to.first_weight += from.first_weight;
  }
}

std::vector<DomainCounts> CountDomains(const Trace& trace) {
  std::vector<DomainCounts> domains;
  std::map<std::string, size_t> index;
  for (const TraceSequence& sequence : trace.sequences) {
    const auto [it, is_new] = index.try_emplace(sequence.domain, domains.size());
    if (is_new) domains.push_back(EmptyCounts(trace.info, sequence.domain));
    AddSequence(trace, sequence, &domains[it->second]);
  }
  return domains;
}

DomainCounts Total(const TraceInfo& info, std::span<const DomainCounts> domains) {
  DomainCounts total = EmptyCounts(info, "all");
  for (const DomainCounts& domain : domains) AddCounts(domain, &total);
  return total;
}

std::vector<double> Shares(const LayerCounts& layer, int n_experts, std::optional<int> choice) {
  std::vector<double> shares(Size(n_experts));
  double sum = 0;
  for (size_t i = 0; i < layer.chosen.size(); ++i) {
    if (choice && i / shares.size() != Size(*choice)) continue;
    shares[i % shares.size()] += static_cast<double>(layer.chosen[i]);
    sum += static_cast<double>(layer.chosen[i]);
  }
  if (sum > 0)
    for (double& share : shares) share /= sum;
  return shares;
}

Proportion WilsonInterval(double hits, double n, double design_effect) {
  if (n <= 0) return {.value = 0, .low = 0, .high = 1};
  const double p = hits / n, z2 = kZ * kZ, trials = n / design_effect;
  const double middle = (p + z2 / (2 * trials)) / (1 + z2 / trials);
  const double half =
      kZ / (1 + z2 / trials) * std::sqrt(p * (1 - p) / trials + z2 / (4 * trials * trials));
  return {.value = p, .low = std::max(0.0, middle - half), .high = std::min(1.0, middle + half)};
}

Proportion RepeatRate(const RepeatSums& sums, const DomainCounts& counts) {
  const auto x = static_cast<double>(sums.x), n = static_cast<double>(counts.n_pairs);
  const auto clusters = static_cast<double>(counts.n_sequences);
  double effect = 1;
  if (n > 0 && clusters >= 2) {
    const double p = x / n;
    const double between =
        (sums.xx - 2 * p * sums.xn + p * p * sums.nn) * clusters / (clusters - 1);
    const double independent = p * (1 - p) * n;
    if (independent > 0) effect = std::max(1.0, between / independent);
  }
  return WilsonInterval(x, n, effect);
}

double FirstBaseline(int n_experts) { return 1.0 / n_experts; }

/// C(E - k, k) / C(E, k): none of the second token's k is among the first token's.
double AnyBaseline(int n_experts, int k) {
  double none = 1;
  for (int i = 0; i < k; ++i)
    none *= std::max(0.0, static_cast<double>(n_experts - k - i)) / (n_experts - i);
  return 1 - none;
}

double EntropyBits(std::span<const double> shares) {
  double bits = 0;
  for (const double share : shares)
    if (share > 0) bits -= share * std::log2(share);
  return bits;
}

double JensenShannonBits(std::span<const double> p, std::span<const double> q) {
  std::vector<double> middle(p.size());
  for (size_t i = 0; i < p.size(); ++i) middle[i] = (p[i] + q[i]) / 2;
  return std::max(0.0, (KullbackLeibler(p, middle) + KullbackLeibler(q, middle)) / 2);
}

PositionDrift DriftByPosition(const Trace& trace) {
  const TraceInfo& info = trace.info;
  PositionDrift drift;
  for (const TraceSequence& sequence : trace.sequences)
    for (size_t t = 0; t < sequence.tokens.size(); ++t) {
      const size_t bucket = BucketOf(sequence.first_position + static_cast<int64_t>(t));
      while (drift.begin.size() <= bucket) {
        drift.begin.push_back(drift.begin.empty() ? 0 : int64_t{16} << drift.begin.size());
        drift.n_tokens.push_back(0);
        drift.shares.emplace_back(Size(info.n_layers), std::vector<double>(Size(info.n_experts)));
      }
      ++drift.n_tokens[bucket];
      for (int l = 0; l < info.n_layers; ++l)
        for (const uint8_t id : trace.Choice(sequence, t, l))
          if (id != kNoExpert) ++drift.shares[bucket][Size(l)][id];
    }
  for (auto& layers : drift.shares)
    for (std::vector<double>& shares : layers) {
      double sum = 0;
      for (const double share : shares) sum += share;
      for (double& share : shares) share /= std::max(1.0, sum);
    }
  return drift;
}

std::vector<std::vector<std::vector<TokenOfExpert>>> TokensOfExperts(const Trace& trace,
                                                                     size_t n_best,
                                                                     int64_t min_count) {
  const size_t n_layers = Size(trace.info.n_layers), n_experts = Size(trace.info.n_experts);
  std::map<TokenId, int64_t> seen;
  std::map<TokenId, std::vector<int64_t>> first;  // [L, E]
  for (const TraceSequence& sequence : trace.sequences)
    for (size_t t = 0; t < sequence.tokens.size(); ++t) {
      const TokenId token = sequence.tokens[t];
      ++seen[token];
      std::vector<int64_t>& counts = first[token];
      counts.resize(n_layers * n_experts);
      for (size_t l = 0; l < n_layers; ++l)
        ++counts[l * n_experts + trace.Choice(sequence, t, static_cast<int>(l))[0]];
    }
  std::vector<std::vector<std::vector<TokenOfExpert>>> best(
      n_layers, std::vector<std::vector<TokenOfExpert>>(n_experts));
  for (size_t l = 0; l < n_layers; ++l)
    for (size_t e = 0; e < n_experts; ++e) {
      std::vector<std::pair<double, TokenOfExpert>> ranked;
      for (const auto& [token, counts] : first) {
        const int64_t n = seen[token], here = counts[l * n_experts + e];
        if (n < min_count || here == 0) continue;
        const double low = WilsonInterval(static_cast<double>(here), static_cast<double>(n)).low;
        ranked.push_back({low, {.token = token, .n = n, .n_here = here}});
      }
      std::stable_sort(ranked.begin(), ranked.end(),
                       [](const auto& a, const auto& b) { return a.first > b.first; });
      for (size_t i = 0; i < std::min(n_best, ranked.size()); ++i)
        best[l][e].push_back(ranked[i].second);
    }
  return best;
}

std::optional<std::vector<LayerAgreement>> CompareTraces(const Trace& a, const Trace& b) {
  const TraceInfo& info = a.info;
  if (info.n_layers != b.info.n_layers || info.n_experts != b.info.n_experts ||
      a.sequences.size() != b.sequences.size())
    return std::nullopt;
  for (size_t i = 0; i < a.sequences.size(); ++i)
    if (a.sequences[i].tokens != b.sequences[i].tokens) return std::nullopt;
  const DomainCounts all_a = Total(info, CountDomains(a)), all_b = Total(b.info, CountDomains(b));
  std::vector<LayerAgreement> layers(Size(info.n_layers));
  for (int l = 0; l < info.n_layers; ++l) {
    LayerAgreement& layer = layers[Size(l)];
    for (size_t i = 0; i < a.sequences.size(); ++i)
      for (size_t t = 0; t < a.sequences[i].tokens.size(); ++t) {
        const auto x = SetOf(a.Choice(a.sequences[i], t, l));
        const auto y = SetOf(b.Choice(b.sequences[i], t, l));
        layer.same_set += x == y ? 1 : 0;
        layer.same_first +=
            a.Choice(a.sequences[i], t, l)[0] == b.Choice(b.sequences[i], t, l)[0] ? 1 : 0;
      }
    const auto n = static_cast<double>(std::max<int64_t>(1, all_a.n_tokens));
    layer.same_set /= n;
    layer.same_first /= n;
    layer.load_distance = JensenShannonBits(Shares(all_a.layers[Size(l)], info.n_experts),
                                            Shares(all_b.layers[Size(l)], info.n_experts));
  }
  return layers;
}

}  // namespace mixtral::observatory

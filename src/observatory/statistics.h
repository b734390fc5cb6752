// SPDX-License-Identifier: Apache-2.0
// What a trace says, as pure functions: counts for each domain and layer that add up, and the
// figures of the paper's section 5 (Figures 7, 9 and 10, Table 5) made from them, with intervals
// and with what uniform random routing would give. Used by the reports; reads no files.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "observatory/trace.h"

namespace mixtral::observatory {

/// Sums over sequences of x repeats among n pairs: what a variance between sequences is made of.
struct RepeatSums {
  int64_t x = 0;
  double xx = 0, xn = 0, nn = 0;
  void Add(const RepeatSums& other);
};

struct LayerCounts {
  std::vector<int64_t> chosen;    // [k, E] tokens whose choice number k was e
  std::vector<double> weight;     // [E] sums of the weights, each token's k add up to 1
  std::vector<int64_t> together;  // [E, E] tokens that got both; the diagonal: that got e
  RepeatSums first, any;          // pairs with the same first choice; with an expert in common
  double first_weight = 0;        // sum of the first choices' weights
};

/// Pairs are neighbours in one sequence, BOS included; the last token of a sequence and the first
/// of the next are no pair.
struct DomainCounts {
  std::string name;
  int64_t n_sequences = 0, n_tokens = 0, n_pairs = 0;
  std::vector<LayerCounts> layers;  // [L]
};

DomainCounts EmptyCounts(const TraceInfo& info, const std::string& name);
void AddSequence(const Trace& trace, const TraceSequence& sequence, DomainCounts* counts);
void AddCounts(const DomainCounts& more, DomainCounts* counts);
/// One for each of DomainsOf.
std::vector<DomainCounts> CountDomains(const Trace& trace);
DomainCounts Total(const TraceInfo& info, std::span<const DomainCounts> domains);

/// Part of all assignments that each expert got; choice: of that choice alone. [E], sums to 1.
std::vector<double> Shares(const LayerCounts& layer, int n_experts,
                           std::optional<int> choice = std::nullopt);

struct Proportion {
  double value = 0, low = 0, high = 0;  // a 95 % interval
};
/// Wilson's interval of hits among n, as if there were n / design_effect independent trials;
/// without trials 0 and [0, 1].
Proportion WilsonInterval(double hits, double n, double design_effect = 1);
/// Neighbouring tokens are not independent: the design effect is the variance of the rate between
/// sequences beside that of independent pairs, at least 1 (1 for a single sequence).
Proportion RepeatRate(const RepeatSums& sums, const DomainCounts& counts);

/// Uniform random routing: 1 / E, and 1 - C(E - k, k) / C(E, k), which for 8 and 2 is 13 / 28.
double FirstBaseline(int n_experts);
double AnyBaseline(int n_experts, int k);

double EntropyBits(std::span<const double> shares);
/// 0 for equal shares, 1 for shares without an expert in common.
double JensenShannonBits(std::span<const double> p, std::span<const double> q);

/// Shares by position: bucket b holds positions [begin[b], begin[b + 1]), the last all others.
struct PositionDrift {
  std::vector<int64_t> begin, n_tokens;                  // [B]
  std::vector<std::vector<std::vector<double>>> shares;  // [B][L][E]
};
PositionDrift DriftByPosition(const Trace& trace);

/// A token that an expert gets more often than chance: first choices.
struct TokenOfExpert {
  TokenId token = -1;
  int64_t n = 0, n_here = 0;  // occurrences; of them with this first choice
};
/// For each layer and expert the n_best tokens by the lower end of the interval of n_here / n,
/// among those seen at least min_count times. [L][E][<= n_best]
std::vector<std::vector<std::vector<TokenOfExpert>>> TokensOfExperts(const Trace& trace,
                                                                     size_t n_best,
                                                                     int64_t min_count);

/// How alike two models route the same tokens, for each layer.
struct LayerAgreement {
  double same_first = 0, same_set = 0;  // parts of the tokens
  double load_distance = 0;             // Jensen-Shannon bits of their shares
};
/// nullopt: other tokens or shapes, so that there is nothing to compare token by token.
std::optional<std::vector<LayerAgreement>> CompareTraces(const Trace& a, const Trace& b);

}  // namespace mixtral::observatory

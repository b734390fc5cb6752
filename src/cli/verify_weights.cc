// SPDX-License-Identifier: Apache-2.0
// Weights are decoded piece by piece with the kernels' own to_f32, so a NaN or Inf in a block's
// scale shows as values. Pieces go to threads; their results are put together in order.
#include "cli/verify_weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"

namespace mixtral::cli {
namespace {

constexpr int64_t kPieceValues = int64_t{1} << 20;  // of one task
constexpr int kDecoded = 4096;                      // values decoded at once; whole blocks

struct Source {
  std::string name;
  DType dtype = DType::kF32;
  std::span<const std::byte> bytes;
  int64_t Values() const {
    return static_cast<int64_t>(bytes.size()) / Info(dtype).block_bytes *
           Info(dtype).block_elements;
  }
};

struct Piece {
  size_t source = 0;
  int64_t first = 0, n_values = 0;
};

/// Adds decoded values to stats. Eight sums side by side, as the compiler keeps the order of a
/// single one.
void AddValues(const float* values, int n, int64_t first, WeightStats* stats) {
  constexpr int kLanes = 8;
  std::array<double, kLanes> squares = {};
  std::array<float, kLanes> largest = {};
  std::array<uint32_t, kLanes> exponents = {};
  constexpr uint32_t kExponent = 0x7F800000;
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + static_cast<int>(lane)];
      const float magnitude = std::fabs(value);
      squares[lane] += static_cast<double>(value) * value;
      largest[lane] = magnitude > largest[lane] ? magnitude : largest[lane];
      exponents[lane] = std::max(exponents[lane], std::bit_cast<uint32_t>(value) & kExponent);
    }
  }
  const bool is_finite =
      *std::max_element(exponents.begin(), exponents.end()) != kExponent && i == n;
  if (is_finite) {
    stats->squares += std::accumulate(squares.begin(), squares.end(), 0.0);
    stats->largest = std::max(stats->largest, *std::max_element(largest.begin(), largest.end()));
    return;
  }
  for (int j = 0; j < n; ++j) {  // rare: a tail, or values that are no numbers
    const float value = values[j];
    if (std::isfinite(value)) {
      stats->squares += static_cast<double>(value) * value;
      stats->largest = std::max(stats->largest, std::fabs(value));
      continue;
    }
    (std::isnan(value) ? stats->n_nan : stats->n_inf) += 1;
    if (stats->first_bad < 0) stats->first_bad = first + j;
  }
}

WeightStats ScanPiece(const Source& source, const Piece& piece, kernels::ToF32Fn* to_f32) {
  WeightStats stats;
  std::array<float, kDecoded> values;
  const DTypeInfo& info = Info(source.dtype);
  for (int64_t at = 0; at < piece.n_values; at += kDecoded) {
    const auto n = static_cast<int>(std::min<int64_t>(kDecoded, piece.n_values - at));
    const int64_t block = (piece.first + at) / info.block_elements;
    to_f32(source.bytes.data() + block * info.block_bytes, n, values.data());
    AddValues(values.data(), n, piece.first + at, &stats);
  }
  stats.n_values = piece.n_values;
  return stats;
}

void Merge(const WeightStats& piece, WeightStats* stats) {
  stats->n_values += piece.n_values;
  stats->n_nan += piece.n_nan;
  stats->n_inf += piece.n_inf;
  if (stats->first_bad < 0) stats->first_bad = piece.first_bad;
  stats->largest = std::max(stats->largest, piece.largest);
  stats->squares += piece.squares;
}

/// The tensor that an address lies in.
class NameFinder {
 public:
  explicit NameFinder(const Checkpoint& checkpoint) {
    for (const std::string& name : checkpoint.Names()) {
      const auto bytes = checkpoint.Find(name)->bytes;
      tensors_[bytes.data()] = {name, bytes.size()};
    }
  }
  std::string Of(const void* data, const std::string& otherwise) const {
    const auto* address = static_cast<const std::byte*>(data);
    auto it = tensors_.upper_bound(address);
    if (it == tensors_.begin()) return otherwise;
    --it;
    return address < it->first + it->second.second ? it->second.first : otherwise;
  }

 private:
  std::map<const std::byte*, std::pair<std::string, size_t>> tensors_;
};

constexpr std::array<const char*, 3> kMatrices = {"gate", "up", "down"};

std::array<WeightRef, 3> MatricesOf(const ExpertWeights& weights) {
  return {weights.gate, weights.up, weights.down};
}

std::span<const std::byte> BytesOf(const WeightRef& ref) {
  return {static_cast<const std::byte*>(ref.data), ref.Bytes()};
}

/// All experts of all layers: [layer][expert].
std::vector<std::vector<ExpertWeights>> CollectExperts(const LoadedModel& model) {
  const int n_experts = std::max(1, model.config.n_experts);
  std::vector<int32_t> ids(static_cast<size_t>(n_experts));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<std::vector<ExpertWeights>> layers;
  for (int layer = 0; layer < model.config.n_layers; ++layer) {
    auto& experts = layers.emplace_back(ids.size());
    std::vector<ExpertLease> leases(ids.size());
    model.experts->Begin(layer, ids);
    for (int n = 0; (n = model.experts->NextWave(leases)) > 0;)
      for (int i = 0; i < n; ++i) {
        const ExpertLease& lease = leases[static_cast<size_t>(i)];
        experts[static_cast<size_t>(lease.expert_id)] = lease.weights;
      }
  }
  return layers;
}

class Scan {
 public:
  Scan(const Checkpoint& checkpoint, const LoadedModel& model)
      : layers_(CollectExperts(model)), n_experts_(model.config.n_experts) {
    const NamingScheme scheme = SchemeOf(checkpoint.kind());
    for (const std::string& name : checkpoint.Names()) {
      const TensorView& view = *checkpoint.Find(name);
      if (Index(view.dtype) >= static_cast<size_t>(kNumMatrixDTypes))
        report_.skipped.push_back(name);
      else if (n_experts_ == 0 || !IsExpertTensor(scheme, name))
        sources_.push_back({name, view.dtype, view.bytes});
    }
    n_plain_ = sources_.size();
    if (n_experts_ > 0) AddExperts(NameFinder(checkpoint));
    for (size_t i = 0; i < sources_.size(); ++i) {
      n_bytes_ += static_cast<int64_t>(sources_[i].bytes.size());
      for (int64_t at = 0; at < sources_[i].Values(); at += kPieceValues)
        pieces_.push_back({i, at, std::min(kPieceValues, sources_[i].Values() - at)});
    }
  }

  WeightReport Run(int n_threads, const std::function<void(int64_t, int64_t)>& on_bytes,
                   const std::atomic<bool>* cancel) {
    const char* problem = nullptr;
    const kernels::KernelTable* table = kernels::ActiveKernels(&problem);
    if (table == nullptr) Throw(ErrorCode::kInvalidArgument, "{}", problem);
    std::vector<WeightStats> results(pieces_.size());
    std::atomic<int64_t> done = 0;
    ThreadPool pool(n_threads);
    pool.Run(static_cast<int>(pieces_.size()), [&](int tile, int worker) noexcept {
      if (cancel != nullptr && cancel->load()) return;
      const Piece& piece = pieces_[static_cast<size_t>(tile)];
      const Source& source = sources_[piece.source];
      results[static_cast<size_t>(tile)] =
          ScanPiece(source, piece, table->to_f32[Index(source.dtype)].fn);
      done.fetch_add(static_cast<int64_t>(RowBytes(source.dtype, piece.n_values)));
      if (worker == 0) on_bytes(done.load(), n_bytes_);
    });
    report_.was_cancelled = cancel != nullptr && cancel->load();
    for (const Source& source : sources_) report_.tensors.emplace_back().name = source.name;
    for (size_t i = 0; i < pieces_.size(); ++i)
      Merge(results[i], &report_.tensors[pieces_[i].source]);
    for (const WeightStats& stats : report_.tensors) report_.n_values += stats.n_values;
    if (n_experts_ > 0 && !report_.was_cancelled) {
      CompareNorms();
      FindCopies();
    }
    return std::move(report_);
  }

 private:
  void AddExperts(const NameFinder& names) {
    for (size_t layer = 0; layer < layers_.size(); ++layer)
      for (size_t expert = 0; expert < layers_[layer].size(); ++expert) {
        const auto matrices = MatricesOf(layers_[layer][expert]);
        for (size_t m = 0; m < matrices.size(); ++m) {
          const std::string name =
              names.Of(matrices[m].data, fmt::format("layer {} {}", layer, kMatrices[m]));
          sources_.push_back(
              {fmt::format("{} expert {}", name, expert), matrices[m].dtype, BytesOf(matrices[m])});
        }
      }
  }

  /// The statistics of a matrix, by the order in which AddExperts took them.
  const WeightStats& StatsOf(size_t layer, size_t expert, size_t matrix) const {
    const size_t n_experts = layers_[layer].size();
    return report_.tensors[n_plain_ + (layer * n_experts + expert) * kMatrices.size() + matrix];
  }

  void CompareNorms() {
    for (size_t layer = 0; layer < layers_.size(); ++layer)
      for (size_t m = 0; m < kMatrices.size(); ++m) {
        const size_t n = layers_[layer].size();
        std::vector<double> sorted;
        for (size_t e = 0; e < n; ++e) sorted.push_back(StatsOf(layer, e, m).Rms());
        std::sort(sorted.begin(), sorted.end());
        const double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
        for (size_t e = 0; e < n; ++e) {
          ExpertNorm norm = {.layer = static_cast<int>(layer),
                             .expert = static_cast<int>(e),
                             .matrix = kMatrices[m],
                             .rms = StatsOf(layer, e, m).Rms()};
          if (n >= 3 && norm.rms != median)
            norm.ratio = median > 0 ? norm.rms / median : std::numeric_limits<double>::infinity();
          report_.experts.push_back(norm);
        }
      }
  }

  bool AreSame(size_t layer, size_t a, size_t b) const {
    const auto left = MatricesOf(layers_[layer][a]), right = MatricesOf(layers_[layer][b]);
    for (size_t m = 0; m < left.size(); ++m) {
      const auto x = BytesOf(left[m]), y = BytesOf(right[m]);
      if (left[m].dtype != right[m].dtype || x.size() != y.size()) return false;
      if (std::memcmp(x.data(), y.data(), x.size()) != 0) return false;
    }
    return true;
  }

  /// Different experts differ in their first bytes, so comparing all pairs reads little.
  void FindCopies() {
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      std::vector<bool> is_seen(layers_[layer].size());
      for (size_t a = 0; a < is_seen.size(); ++a) {
        if (is_seen[a]) continue;
        ExpertCopies copies = {static_cast<int>(layer), {static_cast<int>(a)}};
        for (size_t b = a + 1; b < is_seen.size(); ++b) {
          if (is_seen[b] || !AreSame(layer, a, b)) continue;
          is_seen[b] = true;
          copies.experts.push_back(static_cast<int>(b));
        }
        if (copies.experts.size() > 1) report_.copies.push_back(std::move(copies));
      }
    }
  }

  std::vector<std::vector<ExpertWeights>> layers_;
  int n_experts_;
  size_t n_plain_ = 0;
  std::vector<Source> sources_;
  std::vector<Piece> pieces_;
  int64_t n_bytes_ = 0;
  WeightReport report_;
};

}  // namespace

double WeightStats::Rms() const {
  const int64_t n = n_values - n_nan - n_inf;
  return n > 0 ? std::sqrt(squares / static_cast<double>(n)) : 0;
}

WeightReport ScanWeights(const Checkpoint& checkpoint, const LoadedModel& model, int n_threads,
                         const std::function<void(int64_t done, int64_t total)>& on_bytes,
                         const std::atomic<bool>* cancel) {
  return Scan(checkpoint, model).Run(n_threads, on_bytes, cancel);
}

}  // namespace mixtral::cli

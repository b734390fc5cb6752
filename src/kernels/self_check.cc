// SPDX-License-Identifier: Apache-2.0
// The bounds are those of the conformance tests: bit by bit where the contract says so, and
// elsewhere what the order of float additions can change.
#include "kernels/self_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/random_rows.h"

namespace mixtral::kernels {
namespace {

constexpr int kCols = 512, kTokens = 5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Memory at a multiple of 64, as the slots want it.
class Aligned {
 public:
  explicit Aligned(size_t n_bytes) : storage_(n_bytes + 64) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64);
  }
  float* floats() { return reinterpret_cast<float*>(data()); }

 private:
  std::vector<std::byte> storage_;
};

double BitwiseError(const void* a, const void* b, size_t n_bytes) {
  return std::memcmp(a, b, n_bytes) == 0 ? 0 : kInfinity;
}

/// The largest |a - b| as a part of `allowed`; NaN counts as infinity.
double FloatError(const float* a, const float* b, size_t n, double allowed) {
  double worst = 0;
  for (size_t i = 0; i < n; ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::max(worst, difference <= allowed ? difference / allowed : kInfinity);
  }
  return worst;
}

class Tester {
 public:
  Tester(const KernelTable& table, const KernelTable& reference)
      : table_(table), reference_(reference) {}

  std::vector<SlotCheck> Run() {
    for (int i = 0; i < kNumMatrixDTypes; ++i) {
      const auto dtype = static_cast<DType>(i);
      TestMatrix(dtype, Compute::kFast);
      TestMatrix(dtype, Compute::kExact);
      TestToF32(dtype);
    }
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) TestFromF32(dtype);
    TestAttend(DType::kF32);
    TestAttend(DType::kF16);
    TestRows();
    return std::move(checks_);
  }

 private:
  void Report(std::string slot, double error) {
    checks_.push_back({std::move(slot), error <= 1, error});
  }

  std::vector<std::byte> RandomRows(DType dtype, int n_rows) {
    const size_t row_bytes = RowBytes(dtype, kCols);
    std::vector<std::byte> rows(row_bytes * static_cast<size_t>(n_rows));
    for (int r = 0; r < n_rows; ++r)
      FillRow(dtype, kCols, Fill::kRandom, random_,
              rows.data() + static_cast<size_t>(r) * row_bytes);
    return rows;
  }

  /// What float arithmetic may lose in a row of weights times x, as in the conformance tests.
  static double AllowedOf(DType dtype, const std::vector<std::byte>& rows,
                          const std::vector<float>& x) {
    double largest = 0, x_sum = 0;
    for (int r = 0; r < kTileRows; ++r)
      for (const float w :
           Decode(dtype, rows.data() + static_cast<size_t>(r) * RowBytes(dtype, kCols), kCols))
        largest = std::max<double>(largest, std::fabs(w));
    for (int i = 0; i < kCols; ++i) x_sum += std::fabs(x[static_cast<size_t>(i)]);
    if (kBlockFormats[Index(dtype)].m_at >= 0) largest += 2 * 63 * 0x1p-5;
    return 4e-6 * largest * x_sum;  // each of the two is within 2e-6
  }

  void TestMatrix(DType dtype, Compute compute) {
    const MatrixSlots& slots = table_.Matrix(compute, dtype);
    const MatrixSlots& scalar = reference_.Matrix(compute, dtype);
    const std::string variant =
        " " + std::string(Name(dtype)) + (compute == Compute::kFast ? " fast" : " exact");
    const std::vector<std::byte> rows = RandomRows(dtype, kTileRows);
    const size_t row_bytes = RowBytes(dtype, kCols);
    const std::vector<float> x = RandomFloats(size_t{kTokens} * kCols, random_);
    const size_t act_bytes = LayoutOf(slots.act_form, kCols).row_bytes;
    Aligned acts(act_bytes * kTokens), scalar_acts(act_bytes * kTokens);
    slots.quantize_rows.fn({x.data(), kCols, acts.data(), kTokens, kCols});
    scalar.quantize_rows.fn({x.data(), kCols, scalar_acts.data(), kTokens, kCols});
    Report("quantize_rows" + variant,
           BitwiseError(acts.data(), scalar_acts.data(), act_bytes * kTokens));

    constexpr size_t kOut = size_t{kTokens} * kTileRows;
    std::vector<float> gemv(kOut), expected(kOut), gemm(kOut);
    for (size_t t = 0; t < kTokens; ++t) {
      const void* act = scalar_acts.data() + t * act_bytes;
      slots.gemv_rows.fn(
          {rows.data(), row_bytes, kTileRows, kCols, act, gemv.data() + t * kTileRows});
      scalar.gemv_rows.fn(
          {rows.data(), row_bytes, kTileRows, kCols, act, expected.data() + t * kTileRows});
    }
    const bool is_integer = Info(dtype).block_elements > 1 && compute == Compute::kFast;
    Report("gemv_rows" + variant,
           is_integer ? BitwiseError(gemv.data(), expected.data(), kOut * 4)
                      : FloatError(gemv.data(), expected.data(), kOut, AllowedOf(dtype, rows, x)));

    Aligned tile(slots.tile_bytes(kCols));
    slots.pack_tile.fn({rows.data(), row_bytes, kTileRows, kCols, tile.data()});
    slots.gemm_tile.fn({tile.data(), kTileRows, kCols, scalar_acts.data(), act_bytes, nullptr,
                        kTokens, gemm.data(), kTileRows});
    Report("pack_tile, gemm_tile" + variant, BitwiseError(gemm.data(), gemv.data(), kOut * 4));
  }

  void TestToF32(DType dtype) {
    const std::vector<std::byte> row = RandomRows(dtype, 1);
    std::vector<float> got(kCols), expected(kCols);
    table_.to_f32[Index(dtype)].fn(row.data(), kCols, got.data());
    reference_.to_f32[Index(dtype)].fn(row.data(), kCols, expected.data());
    Report("to_f32 " + std::string(Name(dtype)),
           BitwiseError(got.data(), expected.data(), kCols * 4));
  }

  void TestFromF32(DType dtype) {
    const std::vector<float> x = RandomFloats(kCols, random_);
    std::vector<std::byte> got(RowBytes(dtype, kCols)), expected(got.size());
    table_.from_f32[Index(dtype)].fn(x.data(), kCols, got.data());
    reference_.from_f32[Index(dtype)].fn(x.data(), kCols, expected.data());
    Report("from_f32 " + std::string(Name(dtype)),
           BitwiseError(got.data(), expected.data(), got.size()));
  }

  void TestAttend(DType dtype) {
    constexpr int kQueries = 4, kHead = 128;
    std::vector<float> q = RandomFloats(kQueries * kHead, random_);
    for (float& value : q) value *= 0.15f;
    std::vector<std::byte> cache(RowBytes(dtype, 2 * kKvTile * kHead));
    FillRow(dtype, 2 * kKvTile * kHead, Fill::kRandom, random_, cache.data());
    const std::byte* values = cache.data() + cache.size() / 2;
    const int32_t first[kQueries] = {0, 3, 10, 60}, last[kQueries] = {kKvTile, 50, 11, 64};
    const auto run = [&](const KernelTable& table, std::vector<float>* acc,
                         std::vector<float>* denominator) {
      std::vector<float> maximum(kQueries, -HUGE_VALF);
      acc->assign(kQueries * kHead, 0);
      denominator->assign(kQueries, 0);
      table.attend_tile[Index(dtype)].fn({q.data(), kQueries, kHead, cache.data(), values, first,
                                          last, maximum.data(), denominator->data(), acc->data()});
    };
    std::vector<float> got, expected, got_sum, expected_sum;
    run(table_, &got, &got_sum);
    run(reference_, &expected, &expected_sum);
    const double largest = *std::max_element(expected_sum.begin(), expected_sum.end());
    const double error =
        std::max(FloatError(got.data(), expected.data(), got.size(), 4e-5 * largest),
                 FloatError(got_sum.data(), expected_sum.data(), kQueries, 2e-5 * largest));
    Report("attend_tile " + std::string(Name(dtype)), error);
  }

  void TestRows() {
    constexpr int kHalf = kCols / 2;
    const std::vector<float> x = RandomFloats(kCols, random_), y = RandomFloats(kCols, random_);
    std::vector<float> got(kCols), expected(kCols);
    const auto compare = [&](const char* slot, double allowed) {
      Report(slot, FloatError(got.data(), expected.data(), kCols, allowed));
    };
    table_.rms_norm.fn(x.data(), y.data(), 1e-5f, kCols, got.data());
    reference_.rms_norm.fn(x.data(), y.data(), 1e-5f, kCols, expected.data());
    compare("rms_norm", 4e-5);
    table_.silu_mul.fn(x.data(), y.data(), kCols, got.data());
    reference_.silu_mul.fn(x.data(), y.data(), kCols, expected.data());
    compare("silu_mul", 4e-5);
    got = expected = y;
    table_.add_scaled.fn(x.data(), 0.37f, kCols, got.data());
    reference_.add_scaled.fn(x.data(), 0.37f, kCols, expected.data());
    Report("add_scaled", BitwiseError(got.data(), expected.data(), kCols * 4));
    std::vector<float> cosines(kHalf), sines(kHalf);
    for (size_t j = 0; j < kHalf; ++j) {
      cosines[j] = std::cos(static_cast<float>(j));
      sines[j] = std::sin(static_cast<float>(j));
    }
    for (const RopeLayout layout : {RopeLayout::kInterleaved, RopeLayout::kHalf}) {
      const auto args = [&](float* out) {
        return RopeArgs{x.data(), cosines.data(), sines.data(), layout, 1, kCols, 0.25f, out};
      };
      table_.rope.fn(args(got.data()));
      reference_.rope.fn(args(expected.data()));
      compare(layout == RopeLayout::kHalf ? "rope half" : "rope interleaved", 4e-6);
    }
  }

  const KernelTable& table_;
  const KernelTable& reference_;
  std::mt19937 random_{20};
  std::vector<SlotCheck> checks_;
};

}  // namespace

std::vector<SlotCheck> SelfCheck(const KernelTable& table, const KernelTable& reference) {
  return Tester(table, reference).Run();
}

}  // namespace mixtral::kernels

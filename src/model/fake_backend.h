// SPDX-License-Identifier: Apache-2.0
// A backend for the unit tests of this module: keeps what it is given, counts cache memory,
// computes nothing.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/check.h"

namespace mixtral::testing {

class FakeBackend final : public Backend {
 public:
  WeightRef Upload(const TensorView& view) override {
    WeightRef ref;
    ref.dtype = view.dtype;
    ref.rows = view.rank == 1 ? 1 : view.shape[0];
    ref.cols = view.rank == 1 ? view.shape[0] : view.shape[1];
    ref.data = view.bytes.data();
    ref.row_bytes = RowBytes(view.dtype, ref.cols);
    return ref;
  }
  WeightRef UploadAsF32(const TensorView& view) override { return Upload(view); }
  std::byte* AllocCache(size_t bytes) override {
    caches_.push_back(std::make_unique<std::byte[]>(bytes));
    ++n_live_caches;
    return caches_.back().get();
  }
  void FreeCache(std::byte* memory) override {
    Check(!caches_.empty() && memory != nullptr, "FreeCache of nothing");
    --n_live_caches;
  }

  void Prepare(const BackendSetup&) override { Unused(); }
  Activation AllocActivation(int64_t, int64_t) override { return Unused(), Activation{}; }
  void Embed(const WeightRef&, std::span<const int32_t>, Activation) override { Unused(); }
  void RmsNorm(Activation, const WeightRef&, float, Activation) override { Unused(); }
  void MatMul(std::span<const WeightRef>, Activation, std::span<const Activation>) override {
    Unused();
  }
  void RopeAndStore(Activation, Activation, Activation, std::span<const int64_t>,
                    std::span<const RowRange>, std::span<const KvView>) override {
    Unused();
  }
  void Attend(const AttendArgs&) override { Unused(); }
  Routing MoeFfn(const MoeFfnArgs&) override { return Unused(), Routing{}; }
  void Add(Activation, Activation) override { Unused(); }
  void GatherRows(Activation, std::span<const int32_t>, Activation) override { Unused(); }
  void CopyToHost(Activation, float*) override { Unused(); }

  int n_live_caches = 0;

 private:
  static void Unused() { Check(false, "the fake backend does not compute"); }
  std::vector<std::unique_ptr<std::byte[]>> caches_;
};

}  // namespace mixtral::testing

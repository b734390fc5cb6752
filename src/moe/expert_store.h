// SPDX-License-Identifier: Apache-2.0
// Where experts live: the one seam for offloading. The backend's MoeFfn asks for the experts of a
// step and gets them in waves as they become ready; a store that holds all of them gives one wave,
// so that one tile list covers all.
#pragma once

#include <span>

#include "tensor/view.h"

namespace mixtral {

/// One expert of one layer. Each matrix may have its own type and address.
struct ExpertWeights {
  WeightRef gate;  // [F, D]  w1
  WeightRef up;    // [F, D]  w3
  WeightRef down;  // [D, F]  w2
};

struct ExpertLease {
  int expert_id = -1;
  ExpertWeights weights;
};

class ExpertStore {
 public:
  virtual ~ExpertStore() = default;
  /// A hint that these experts will be asked for soon; returns at once.
  virtual void Prefetch(int layer, std::span<const int32_t> expert_ids) = 0;
  /// The experts that this step needs, ascending, without repeats. Ends the leases of the step
  /// before.
  virtual void Begin(int layer, std::span<const int32_t> expert_ids) = 0;
  /// Fills leases with the next experts that are ready (at least one, waiting if it must) and
  /// returns how many; 0 when all of Begin's were handed out. Handing out ends the leases of the
  /// wave before. May throw Error{kIo}.
  virtual int NextWave(std::span<ExpertLease> leases) = 0;
};

}  // namespace mixtral

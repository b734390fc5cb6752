// SPDX-License-Identifier: Apache-2.0
// Several processes that train together, over torch.distributed's C++ side (c10d) with gloo: groups
// of ranks, their collective operations and the exchange of rows between the owners of experts. The
// variables of torchrun say who is who; without them there is one process and nothing is sent.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "train/model.h"

namespace mixtral::train {

/// Ranks that make the same calls in the same order. Operations of a group of one do nothing.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Contiguous tensors, in place.
  virtual void AllReduceSum(Tensor tensor) = 0;
  virtual void Broadcast(Tensor tensor, int root) = 0;
  /// send[r] rows of `in` go to rank r, receive[r] rows of `out` come from it.
  virtual void AllToAll(const Tensor& in, const std::vector<int64_t>& send, Tensor out,
                        const std::vector<int64_t>& receive) = 0;
  void Barrier();
};

/// world = data_parallel * expert_parallel; rank = data index * expert_parallel + expert index.
struct World {
  std::shared_ptr<Group> all;
  std::shared_ptr<Group> expert_peers;  // the ranks that together hold all experts once
  std::shared_ptr<Group> replicas;      // the ranks that hold the same experts as this one
  int rank() const { return all->rank(); }
  int size() const { return all->size(); }
};

/// Reads RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT and meets the others. Throws
/// kInvalidArgument for variables that make no sense, kIo when the others do not come.
World JoinWorld(int expert_parallel, int timeout_seconds);

/// Rows go to the ranks that own their experts and come back (all-to-all, PAPER 3). All ranks of
/// the group must call it equally often, with no rows if they have none.
std::unique_ptr<ExpertExchange> MakeExchange(std::shared_ptr<Group> peers, int n_experts);

}  // namespace mixtral::train

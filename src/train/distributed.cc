// SPDX-License-Identifier: Apache-2.0
// Any failure of a collective operation means that another process is gone or stuck: it becomes one
// line that says so.
#include "train/distributed.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/strings.h"

namespace mixtral::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class LoneGroup : public Group {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduceSum(Tensor) override {}
  void Broadcast(Tensor, int) override {}
  void AllToAll(const Tensor& in, const std::vector<int64_t>&, Tensor out,
                const std::vector<int64_t>&) override {
    out.copy_(in);
  }
};

class GlooGroup : public Group {
 public:
  GlooGroup(c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo, int rank, int size, int world_rank)
      : gloo_(std::move(gloo)), rank_(rank), size_(size), world_rank_(world_rank) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void AllReduceSum(Tensor tensor) override {
    std::vector<Tensor> tensors = {tensor};
    Await("adding up", [&] { return gloo_->allreduce(tensors, {}); });
  }
  void Broadcast(Tensor tensor, int root) override {
    std::vector<Tensor> tensors = {tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    Await("handing out", [&] { return gloo_->broadcast(tensors, options); });
  }
  void AllToAll(const Tensor& in, const std::vector<int64_t>& send, Tensor out,
                const std::vector<int64_t>& receive) override {
    Tensor source = in.contiguous();
    std::vector<int64_t> out_rows = receive, in_rows = send;
    Await("exchanging rows",
          [&] { return gloo_->alltoall_base(out, source, out_rows, in_rows, {}); });
  }

 private:
  template <class Start>
  void Await(const char* what, const Start& start) {
    try {
      start()->wait();
    } catch (const std::exception& error) {
      Throw(ErrorCode::kIo,
            "rank {}: {} with {} other processes failed: expected all of them, found one gone or "
            "stuck ({}); start all ranks again to go on from the last checkpoint",
            world_rank_, what, size_ - 1, Printable(Split(error.what(), '\n')[0], 200));
    }
  }

  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  int rank_, size_, world_rank_;
};

std::optional<int> EnvironmentInt(const char* name, int min, int max) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  int value = 0;
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size() || value < min || value > max)
    Throw(ErrorCode::kInvalidArgument,
          "environment {}: expected a number from {} to {}, found '{}'", name, min, max,
          Printable(view));
  return value;
}

std::shared_ptr<gloo::transport::Device> MakeDevice(const std::string& master) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  if (master == "localhost" || master.starts_with("127."))
    return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

class AllToAllFunction : public torch::autograd::Function<AllToAllFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& rows, Group* group,
                        const std::vector<int64_t>& send, const std::vector<int64_t>& receive) {
    ctx->saved_data["group"] = reinterpret_cast<int64_t>(group);
    ctx->saved_data["send"] = send;
    ctx->saved_data["receive"] = receive;
    return Run(rows, group, send, receive);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    auto* group = reinterpret_cast<Group*>(ctx->saved_data["group"].toInt());
    return {Run(grads[0], group, ctx->saved_data["receive"].toIntVector(),
                ctx->saved_data["send"].toIntVector()),
            Tensor(), Tensor(), Tensor()};
  }

 private:
  static Tensor Run(const Tensor& rows, Group* group, const std::vector<int64_t>& send,
                    const std::vector<int64_t>& receive) {
    int64_t n = 0;
    for (const int64_t count : receive) n += count;
    Tensor out = torch::empty({n, rows.size(1)}, rows.options());
    group->AllToAll(rows, send, out, receive);
    return out;
  }
};

/// A permutation of rows whose gradient is the inverse permutation.
class PermuteFunction : public torch::autograd::Function<PermuteFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& rows, const Tensor& from,
                        const Tensor& back) {
    ctx->save_for_backward({back});
    return rows.index_select(0, from);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {grads[0].index_select(0, ctx->get_saved_variables()[0]), Tensor(), Tensor()};
  }
};

class GlooExchange : public ExpertExchange {
 public:
  GlooExchange(std::shared_ptr<Group> peers, int n_experts)
      : peers_(std::move(peers)), n_local_(n_experts / peers_->size()) {}

  Tensor Apply(const Tensor& rows, const std::vector<int64_t>& counts,
               const ExpertTensors& local_experts, torch::ScalarType compute) override {
    const auto n_peers = static_cast<size_t>(peers_->size());
    const auto n_local = static_cast<size_t>(n_local_);
    // What everyone sends to the owner of each expert: counts[peer * n_local + e].
    const Tensor mine = torch::tensor(counts, torch::kInt64);
    Tensor theirs = torch::empty_like(mine);
    const std::vector<int64_t> even(n_peers, n_local_);
    peers_->AllToAll(mine, even, theirs, even);
    std::vector<int64_t> send(n_peers, 0), receive(n_peers, 0), per_expert(n_local, 0);
    const int64_t* their = theirs.data_ptr<int64_t>();
    for (size_t peer = 0; peer < n_peers; ++peer) {
      for (size_t e = 0; e < n_local; ++e) {
        send[peer] += counts[peer * n_local + e];
        receive[peer] += their[peer * n_local + e];
        per_expert[e] += their[peer * n_local + e];
      }
    }
    // Rows arrive by sender, then expert; experts want them by expert, then sender.
    std::vector<int64_t> order;
    for (size_t e = 0; e < n_local; ++e) {
      int64_t begin = 0;
      for (size_t i = 0; i < n_peers * n_local; begin += their[i++]) {
        if (i % n_local != e) continue;
        for (int64_t r = 0; r < their[i]; ++r) order.push_back(begin + r);
      }
    }
    const Tensor from = torch::tensor(order, torch::kInt64);
    const Tensor back = from.argsort();
    const Tensor arrived = AllToAllFunction::apply(rows, peers_.get(), send, receive);
    const Tensor grouped = PermuteFunction::apply(arrived, from, back);
    const Tensor out = GroupedExperts(grouped, per_expert, local_experts, compute);
    const Tensor ordered = PermuteFunction::apply(out, back, from);
    return AllToAllFunction::apply(ordered, peers_.get(), receive, send);
  }

 private:
  std::shared_ptr<Group> peers_;
  int64_t n_local_;
};

}  // namespace

void Group::Barrier() { AllReduceSum(torch::zeros({1})); }

World JoinWorld(int expert_parallel, int timeout_seconds) {
  const int size = EnvironmentInt("WORLD_SIZE", 1, 1 << 16).value_or(1);
  if (size % expert_parallel != 0)
    Throw(ErrorCode::kInvalidArgument,
          "expert_parallel: expected a divisor of WORLD_SIZE {}, found {}", size, expert_parallel);
  if (size == 1) {
    const auto lone = std::make_shared<LoneGroup>();
    return {lone, lone, lone};
  }
  const std::optional<int> rank = EnvironmentInt("RANK", 0, size - 1);
  const std::optional<int> port = EnvironmentInt("MASTER_PORT", 1, 65535);
  const char* address = std::getenv("MASTER_ADDR");
  if (!rank || !port || address == nullptr)
    Throw(ErrorCode::kInvalidArgument,
          "environment: expected RANK, MASTER_ADDR and MASTER_PORT beside WORLD_SIZE {}, found {}",
          size,
          !rank   ? "no RANK"
          : !port ? "no MASTER_PORT"
                  : "no MASTER_ADDR");
  const std::chrono::milliseconds timeout(int64_t{timeout_seconds} * 1000);
  try {
    c10d::TCPStoreOptions store_options;
    store_options.port = static_cast<uint16_t>(*port);
    store_options.isServer = *rank == 0;
    store_options.numWorkers = static_cast<size_t>(size);
    store_options.timeout = timeout;
    const auto store = c10::make_intrusive<c10d::TCPStore>(address, store_options);
    const std::shared_ptr<gloo::transport::Device> device = MakeDevice(address);
    const auto group = [&](const std::string& name, int group_rank,
                           int group_size) -> std::shared_ptr<Group> {
      if (group_size == 1) return std::make_shared<LoneGroup>();
      auto options = c10d::ProcessGroupGloo::Options::create(timeout);
      options->devices.push_back(device);
      const auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, store);
      return std::make_shared<GlooGroup>(
          c10::make_intrusive<c10d::ProcessGroupGloo>(prefixed, group_rank, group_size, options),
          group_rank, group_size, *rank);
    };
    const int data_index = *rank / expert_parallel, expert_index = *rank % expert_parallel;
    World world;
    world.all = group("all", *rank, size);
    world.expert_peers = group(fmt::format("peers{}", data_index), expert_index, expert_parallel);
    world.replicas =
        group(fmt::format("replicas{}", expert_index), data_index, size / expert_parallel);
    return world;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    Throw(ErrorCode::kIo, "rank {}: expected to meet {} processes at {}:{} within {} s, found: {}",
          *rank, size, Printable(address), *port, timeout_seconds,
          Printable(Split(error.what(), '\n')[0], 200));
  }
}

std::unique_ptr<ExpertExchange> MakeExchange(std::shared_ptr<Group> peers, int n_experts) {
  if (peers->size() == 1) return nullptr;
  if (n_experts % peers->size() != 0)
    Throw(ErrorCode::kInvalidArgument,
          "expert_parallel: expected a divisor of {} experts, found {}", n_experts, peers->size());
  return std::make_unique<GlooExchange>(std::move(peers), n_experts);
}

}  // namespace mixtral::train

// SPDX-License-Identifier: Apache-2.0
// The server's endpoints without a server: requests in, answers out, no socket and no thread of
// one's own. `mixtral batch` runs on it, so that a file of requests gets what the server answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/served_model.h"

namespace mixtral::server {

struct OfflineAnswer {
  size_t key = 0;  // what the request was submitted with
  int status = 0;
  std::string body;
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

/// All calls on one thread.
class Offline {
 public:
  /// Loads the model. Throws what ServedModel throws.
  explicit Offline(const ModelOptions& options, const std::string& version);
  ~Offline();
  Offline(const Offline&) = delete;
  Offline& operator=(const Offline&) = delete;

  /// POST body to path; the answer comes from Next. Requests beyond the service's queue are
  /// answered with 429, as anywhere.
  void Submit(size_t key, std::string path, std::string body);
  /// The next answer in the order in which they come, after at most this time; nullopt: none yet.
  std::optional<OfflineAnswer> Next(std::chrono::milliseconds patience);
  /// Nothing more comes of what was submitted.
  void CancelAll();
  const ServedModel& model() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mixtral::server

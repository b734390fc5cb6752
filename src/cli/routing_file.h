// SPDX-License-Identifier: Apache-2.0
// --routing FILE: the trace that run, chat and serve record beside their work. It gets its name
// when the command ends, Ctrl-C included, with all sequences that were ended by then.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "cli/command_line.h"
#include "engine/engine.h"
#include "observatory/trace_file.h"
#include "observatory/trace_recorder.h"
#include "server/served_model.h"

namespace mixtral::cli {

void AddRoutingFile(CommandLine& line, std::optional<std::string>* path);

class RoutingFile final : public ForwardObserver {
 public:
  /// k: experts of a token, 0 = the model's. also: gets every call, too; may be nullptr.
  RoutingFile(const std::string& path, const Engine& engine, int k,
              ForwardObserver* also = nullptr);
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// What was watched since the last call is a text of its own.
  void EndSequence(const std::string& domain);
  void Finish() { writer_.Finish(); }
  int64_t n_tokens() const { return writer_.n_tokens(); }

 private:
  observatory::TraceRecorder recorder_;
  observatory::TraceWriter writer_;
  ForwardObserver* also_;
};

/// The same for a server: sequences come whole, from its service's thread.
class ServedRoutingFile {
 public:
  explicit ServedRoutingFile(std::string path) : path_(std::move(path)) {}
  /// Creates the file. k: the most experts that a request may ask for, 0 = the model's.
  void Open(const Engine& engine, int k);
  /// From any thread. A failing disk ends the recording with a note, not the server.
  void Write(const server::ServedRouting& routing);
  /// Without effect when it was not opened.
  void Finish();

 private:
  std::string path_;
  std::mutex mutex_;
  observatory::TraceInfo info_;
  std::optional<observatory::TraceWriter> writer_;
};

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// mixtral serve: a model behind OpenAI's API. docs/serving.md is its handbook, docs/api.md its
// endpoints.
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/strings.h"
#include "cli/chat_format.h"
#include "cli/common_flags.h"
#include "cli/output.h"
#include "cli/routing_file.h"
#include "cli/serve_command.h"
#include "server/auth.h"
#include "server/server.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral serve model.gguf\n"
    "  mixtral serve model.gguf --port 0 --api-key-file keys.txt\n"
    "  mixtral serve mixtral-8x7b/ --host 0.0.0.0 --ctx 8192 --max-running 32 --alias mixtral";

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();
constexpr size_t kMiB = size_t{1} << 20;

struct ServeFlags {
  PathFlags path;
  ComputeFlags compute;
  server::ServerOptions server;
  ServiceOptions service;
  std::vector<std::string> keys, aliases;
  std::optional<std::string> key_file, host, routing;
  std::string format;
  int experts_per_token = 0;
  int max_body_mib = 16, max_output_kib = 1024, cache_mib = 0;
  float drain = 30, header_timeout = 10, body_timeout = 60, keep_alive = 75, stall = 30, ping = 15;
  float queue_timeout = 300;
  bool expert_metrics = false, no_access_log = false;

  bool Parse(Arguments arguments);

 private:
  void AddService(CommandLine& line);
  void AddHttp(CommandLine& line);
};

void ServeFlags::AddService(CommandLine& line) {
  line.Group("Requests");
  line.Int("--ctx", &service.context, {1, kMaxInt},
           "Positions of a sequence (default: the model's, at most 4096)");
  line.Int("--max-running", &service.max_running, {1, 4096},
           "Sequences that are computed together (default 64)");
  line.Int("--max-queued", &service.max_queued, {0, kMaxInt},
           "Requests that wait; more get 429 (default 512)");
  line.Int("--max-queued-tokens", &service.max_queued_tokens, {1, kMaxInt},
           "Prompt tokens of those that wait (default 1048576)");
  line.Real("--queue-timeout", &queue_timeout, {0, 86400},
            "Seconds that a request may wait; then 503; 0: no limit (default 300)");
  line.Int("--cache-mib", &cache_mib, {0, 1 << 30},
           "Memory of keys and values in MiB (default: a quarter of what is free at most)");
  line.Int("--step-tokens", &service.step_tokens, {1, 1 << 20},
           "Rows of one forward step (default 512)");
  line.Int("--prefill-tokens", &service.prefill_tokens, {1, 1 << 20},
           "Prompt rows beside running streams (default 128)");
  line.Int("--experts-per-token", &experts_per_token, {1, 256},
           "Most experts per token that requests may ask for (default: the model's)");
  line.TextList("--alias", &aliases, "NAME",
                "Name of the model for clients; may be given several times (default: of the file)");
  AddChatFormat(line, &format);
  AddRoutingFile(line, &routing);
}

void ServeFlags::AddHttp(CommandLine& line) {
  line.Group("HTTP");
  line.Text("--host", &host, "ADDRESS", "Address to listen on (default 127.0.0.1)");
  line.Int("--port", &server.port, {0, 65535}, "Port; 0 takes a free one (default 8080)");
  line.TextList("--api-key", &keys, "KEY", "Clients must send it; may be given several times");
  line.Text("--api-key-file", &key_file, "FILE", "Keys, one a line; '#' begins a comment");
  line.TextList("--cors-origin", &server.cors_origins, "ORIGIN",
                "Web origin that may call; '*' allows all; may be given several times");
  line.Int("--max-connections", &server.limits.max_connections, {1, 1 << 20},
           "Open connections; more get 503 (default 4096)");
  line.Int("--max-body-mib", &max_body_mib, {1, 1024}, "Size of a request's body (default 16)");
  line.Int("--max-output-kib", &max_output_kib, {4, 1 << 20},
           "Of an answer waiting for a slow reader, then it is cancelled (default 1024)");
  line.Real("--header-timeout", &header_timeout, {0.1, 3600}, "Seconds for headers (default 10)");
  line.Real("--body-timeout", &body_timeout, {0.1, 3600}, "Seconds for a body (default 60)");
  line.Real("--keep-alive", &keep_alive, {0.1, 86400}, "Seconds between requests (default 75)");
  line.Real("--stall-timeout", &stall, {0.1, 3600},
            "Seconds that a write may stand still (default 30)");
  line.Real("--sse-ping", &ping, {0.1, 3600},
            "Seconds between comments in silent streams "
            "(default 15)");
  line.Real("--drain", &drain, {0, 86400},
            "Seconds for running requests after SIGTERM (default 30)");
  line.Flag("--expert-metrics", &expert_metrics, "Metrics of every layer and expert");
  line.Flag("--no-access-log", &no_access_log, "No line for each request on standard error");
}

bool ServeFlags::Parse(Arguments arguments) {
  CommandLine line("serve", "Serve a model over HTTP, with OpenAI's API.", kExamples);
  path.AddTo(line, "A GGUF file, or a folder with safetensors");
  AddHttp(line);
  AddService(line);
  compute.AddTo(line);
  if (!line.Parse(arguments)) return false;
  if (host) server.host = *host;
  server.limits.body_bytes = static_cast<size_t>(max_body_mib) * kMiB;
  server.limits.output_bytes = static_cast<size_t>(max_output_kib) << 10;
  server.limits.header_seconds = header_timeout;
  server.limits.body_seconds = body_timeout;
  server.limits.keep_alive_seconds = keep_alive;
  server.limits.stall_seconds = stall;
  server.limits.ping_seconds = ping;
  server.drain_seconds = drain;
  service.cache_bytes = static_cast<size_t>(cache_mib) * kMiB;
  service.queue_seconds = queue_timeout;
  if (expert_metrics) server.expert_metrics = server::ExpertMetrics::kOn;
  return true;
}

std::vector<std::string> ReadKeys(const ServeFlags& flags) {
  std::vector<std::string> keys;
  for (const std::string& key : flags.keys)
    for (const std::string& parsed : server::ParseKeyFile(key, "--api-key")) keys.push_back(parsed);
  if (flags.key_file)
    for (std::string& key : server::ParseKeyFile(ReadInput(*flags.key_file), *flags.key_file))
      keys.push_back(std::move(key));
  return keys;
}

/// "models/mixtral.gguf" -> "mixtral", "models/mixtral/" -> "mixtral".
std::string NameOf(const std::string& path) {
  std::filesystem::path name(path);
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

server::ModelOptions ToModelOptions(const ServeFlags& flags) {
  server::ModelOptions model;
  model.path = flags.path.path;
  model.engine = EngineOptionsFor(flags.service, flags.compute.ToEngineOptions());
  model.engine.max_experts_per_token = flags.experts_per_token;
  model.service = flags.service;
  model.service.kv_dtype = flags.compute.KvType();
  model.names = flags.aliases;
  if (model.names.empty()) model.names = {NameOf(flags.path.path)};
  model.make_chat = [format = flags.format,
                     path = flags.path.path](const Engine& engine) -> std::optional<ChatTemplate> {
    if (format == "none") return std::nullopt;
    return ChooseChat(format, engine.tokenizer(), path,
                      [&] { return engine.checkpoint().chat_template(); })
        .chat_template;
  };
  return model;
}

/// A connection is a descriptor: as many as the system lets us have.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int ServeCommand(Arguments arguments) {
  ServeFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  flags.server.api_keys = ReadKeys(flags);
  flags.server.version = kVersion;
  if (!flags.no_access_log)
    flags.server.access_log = [](std::string_view line) { WriteNote(line); };
  flags.server.on_listening = [](const std::string& url) {
    WriteOut(fmt::format("listening on {}\n", url));
  };
  std::optional<ServedRoutingFile> routing;
  if (flags.routing) routing.emplace(*flags.routing);
  flags.server.on_loaded = [&](const server::ServedModel& model) {
    if (routing) routing->Open(model.engine, flags.experts_per_token);
    PrintNotices(model.engine.notices());
    const ServiceOptions& options = model.service.options();
    Note("serving {}: context {}, {} sequences at once, cache of {} positions ({})", model.name(),
         options.context, options.max_running, options.cache_positions,
         HumanBytes(model.service.CacheBytes()));
  };
  RaiseDescriptorLimit();
  server::ModelOptions model = ToModelOptions(flags);
  if (routing)
    model.on_routing = [&](const server::ServedRouting& served) { routing->Write(served); };
  const int signal = server::RunServer(flags.server, model);
  if (routing) routing->Finish();
  return signal == SIGINT ? kExitInterrupted : kExitOk;
}

}  // namespace mixtral::cli

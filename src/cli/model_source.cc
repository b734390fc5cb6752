// SPDX-License-Identifier: Apache-2.0
// Both ways to a model end in eval/language_model.h.
#include "cli/model_source.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/json.h"
#include "cli/chat_format.h"
#include "cli/output.h"
#include "data/row_reader.h"
#include "eval/endpoint_model.h"

namespace mixtral::cli {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

}  // namespace

void ModelSource::AddTo(CommandLine& line) {
  line.Optional("MODEL", &path, "A GGUF file, or a folder with safetensors");
  line.Choice("--log-level", &log_level, {"error", "warn", "info", "debug"},
              "What the library says on standard error (default warn)");
  line.Group("Model");
  line.Int("--ctx", &context, {1, kMaxInt},
           "Positions of a sequence (default: the model's, at most 4096)");
  line.Int("--max-running", &max_running, {1, 4096},
           "Sequences that are computed together (default 64)");
  line.Int("--cache-mib", &cache_mib, {0, 1 << 30},
           "Memory of keys and values in MiB (default: a quarter of what is free at most)");
  AddChatFormat(line, &format);
  line.Group("Endpoint");
  line.Text("--endpoint", &endpoint, "URL",
            "Measure a model behind an OpenAI-compatible server: http://HOST:PORT/v1");
  line.Text("--model", &model, "NAME", "The model's name there (default: the first it lists)");
  line.Text("--key-env", &key_env, "VARIABLE", "Environment variable that holds the API key");
  line.Int("--concurrency", &concurrency, {1, 256}, "Requests at once (default 8)");
  line.Real("--timeout", &timeout, {1, 86400}, "Seconds to wait for an answer (default 300)");
  compute.AddTo(line);
}

void ModelSource::Check() const {
  if (path.has_value() == endpoint.has_value())
    ThrowUsage("expected MODEL or --endpoint URL, found {}", path ? "both" : "neither");
  if (!endpoint && (model || key_env))
    ThrowUsage("{}: expected --endpoint URL with it, found none", model ? "--model" : "--key-env");
  PathFlags log;
  log.log_level = log_level;
  log.Apply();
}

eval::LocalModelOptions ModelSource::ToLocal(const InterruptScope& interrupt) const {
  eval::LocalModelOptions options;
  options.path = path.value_or("");
  options.engine = compute.ToEngineOptions();
  options.service.context = context;
  options.service.max_running = max_running;
  options.service.cache_bytes = static_cast<size_t>(cache_mib) << 20;
  options.service.kv_dtype = compute.KvType();
  options.chat_format = format;
  options.cancel = interrupt.flag();
  if (compute.is_quiet == nullptr || !*compute.is_quiet)
    options.on_notice = [](const std::string& notice) { WriteNote(notice); };
  return options;
}

std::unique_ptr<eval::LanguageModel> ModelSource::Open(const InterruptScope& interrupt) const {
  if (!is_endpoint()) return eval::OpenLocalModel(ToLocal(interrupt));
  eval::EndpointOptions options;
  options.url = *endpoint;
  options.model = model.value_or("");
  if (key_env) {
    const char* key = std::getenv(key_env->c_str());
    if (key == nullptr || *key == '\0')
      ThrowUsage("--key-env: expected a variable with a key, found none named '{}'", *key_env);
    options.key = key;
  }
  options.max_tokens = context;
  options.concurrency = concurrency;
  options.timeout_seconds = static_cast<double>(timeout);
  options.cancel = interrupt.flag();
  return eval::OpenEndpointModel(options);
}

void TextSource::AddTo(CommandLine& line) {
  line.TextList("-f,--file", &files, "FILE",
                "Text, or JSONL with \"text\" in every line; a folder or pattern; may be given "
                "several times");
}

std::vector<SourceText> TextSource::Read() const {
  if (files.empty()) ThrowUsage("expected -f FILE, found none");
  std::vector<std::string> arguments;
  for (const std::string& file : files) arguments.push_back("text=" + file);
  const std::vector<data::InputFile> inputs = data::ListInputs(arguments);
  data::RowReader reader(&inputs);
  std::vector<SourceText> texts;
  while (auto row = reader.Next()) {
    const data::InputFile& file = inputs[row->file_idx];
    const std::string where =
        row->line > 0 ? fmt::format("{} line {}", file.path, row->line) : file.path;
    if (!row->problem.empty()) Throw(ErrorCode::kUnsupported, "{}: {}", where, row->problem);
    if (file.kind == data::FileKind::kJsonLines)
      row->bytes = Json::Parse(row->bytes, where).At("text").AsString();
    texts.push_back({file.path, std::move(row->bytes)});
  }
  if (texts.empty()) Throw(ErrorCode::kCorrupt, "expected a text, found none, in {}", files[0]);
  return texts;
}

void WindowFlags::AddTo(CommandLine& line) {
  line.Int("--stride", &stride, {1, kMaxInt},
           "Tokens that a window after the first one scores (default: all of its context)");
  line.Choice("--chunks", &chunks, {"rolling", "llama.cpp"},
              "llama.cpp: BOS and whole chunks, of which the second half is scored (default "
              "rolling: every token once)");
  line.Int("--limit", &limit, {1, kMaxInt}, "Windows of each text at most");
}

std::vector<eval::TokenWindow> WindowFlags::Cut(std::span<const TokenId> tokens,
                                                int64_t context) const {
  const bool is_chunks = chunks == "llama.cpp";
  if (is_chunks && stride > 0) ThrowUsage("--stride: expected rolling windows, found llama.cpp's");
  if (is_chunks && context < 3) ThrowUsage("--chunks: expected a context of 3 or more");
  if (stride > context)
    ThrowUsage("--stride: expected at most the context ({}), found {}", context, stride);
  auto windows = is_chunks ? eval::CutLlamaCppChunks(tokens, context, tokens.front())
                           : eval::CutWindows(tokens, {.context = context, .stride = stride});
  if (limit > 0 && std::ssize(windows) > limit) windows.resize(static_cast<size_t>(limit));
  return windows;
}

}  // namespace mixtral::cli

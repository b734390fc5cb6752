// SPDX-License-Identifier: Apache-2.0
// The C interface over the public C++ one, and nothing else: handles, structs with sizes, error
// codes. The last place of the library where an exception is caught.
#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "mixtral/mixtral.h"
#include "mixtral/mixtral_c.h"

namespace api = mixtral::api;

struct mixtral_model {  // NOLINT(readability-identifier-naming): C's name
  api::Model model;
};

struct mixtral_session {  // NOLINT(readability-identifier-naming)
  api::Session session;
  api::Generation last;
};

namespace {

// A plain array: nothing to allocate when memory is what failed, nothing to destroy at thread exit.
thread_local char last_error[1024] = "";

int Fail(int status, const char* message) noexcept {
  const size_t n = std::min(std::strlen(message), sizeof(last_error) - 1);
  std::memmove(last_error, message, n);
  last_error[n] = '\0';
  return status;
}

/// Runs fn, which returns a status or throws.
template <class Fn>
int Guard(Fn&& fn) noexcept {
  try {
    return std::forward<Fn>(fn)();
  } catch (const api::Error& error) {
    return Fail(static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return Fail(MIXTRAL_OUT_OF_MEMORY, "memory: expected enough, found none left");
  } catch (const std::exception& error) {
    return Fail(MIXTRAL_INTERNAL, error.what());
  } catch (...) {
    return Fail(MIXTRAL_INTERNAL, "an exception of a kind that the library does not know");
  }
}

[[noreturn]] void Refuse(const std::string& message) {
  throw api::Error(api::ErrorCode::kInvalidArgument, message);
}

template <class T>
T& Required(T* pointer, const char* what) {
  if (pointer == nullptr) Refuse(std::string(what) + ": expected a pointer, found NULL");
  return *pointer;
}

template <class T>
std::span<const T> Items(const T* items, size_t n, const char* what) {
  if (n > 0) Required(items, what);
  return {items, n};
}

template <class T>
size_t KnownSize(const T& given, const char* what) {
  if (given.struct_size < sizeof(size_t) || given.struct_size > sizeof(T))
    Refuse(std::string(what) + ".struct_size: expected at most " + std::to_string(sizeof(T)) +
           " (newer programs need a newer library), found " + std::to_string(given.struct_size));
  return given.struct_size;
}

/// What a program gave, its missing fields filled from defaults.
template <class T>
T ReadStruct(const T* given, T defaults, const char* what) {
  if (given == nullptr) return defaults;
  std::memcpy(&defaults, given, KnownSize(*given, what));
  return defaults;
}

/// As many fields as the program knows.
template <class T>
void WriteStruct(T values, T* out, const char* what) {
  values.struct_size = KnownSize(*out, what);
  std::memcpy(out, &values, values.struct_size);
}

template <class Chars, class T>
int WriteBuffer(const Chars& values, T* buffer, size_t capacity, size_t* needed) {
  Required(needed, "needed");
  if (capacity > 0) Required(buffer, "buffer");
  *needed = values.size();
  if (capacity == 0) return MIXTRAL_OK;
  if (values.size() > capacity) return Fail(MIXTRAL_TOO_SMALL, "buffer: expected more room");
  std::copy(values.begin(), values.end(), buffer);
  return MIXTRAL_OK;
}

api::RoutingPolicy ToPolicy(const mixtral_policy* given) {
  const mixtral_policy policy = ReadStruct(given, mixtral_policy{}, "policy");
  const auto force = Items(policy.force, policy.n_force, "policy.force");
  const auto ban = Items(policy.ban, policy.n_ban, "policy.ban");
  const auto bias = Items(policy.bias, policy.n_bias, "policy.bias");
  return {.k = policy.k,
          .force = {force.begin(), force.end()},
          .ban = {ban.begin(), ban.end()},
          .bias = {bias.begin(), bias.end()}};
}

api::RoutingObserver ToObserver(mixtral_routing_callback* callback, void* user) {
  if (callback == nullptr) return {};
  return [callback, user](const api::RoutingEvent& event) {
    const mixtral_routing routing = {.layer = event.layer,
                                     .n_tokens = event.n_tokens,
                                     .k = event.k,
                                     .first_position = event.first_position,
                                     .expert_ids = event.expert_ids.data(),
                                     .weights = event.weights.data()};
    callback(user, &routing);
  };
}

mixtral_generate_options DefaultGenerateOptions() {
  const api::GenerateOptions defaults;
  mixtral_generate_options options{};
  options.struct_size = sizeof(options);
  options.temperature = defaults.sampling.temperature;
  options.top_k = defaults.sampling.top_k;
  options.top_p = defaults.sampling.top_p;
  options.min_p = defaults.sampling.min_p;
  options.repetition_penalty = defaults.sampling.repetition_penalty;
  options.seed = defaults.sampling.seed;
  options.max_tokens = defaults.max_tokens;
  options.typical_p = defaults.sampling.typical_p;
  options.frequency_penalty = defaults.sampling.frequency_penalty;
  options.presence_penalty = defaults.sampling.presence_penalty;
  return options;
}

api::GenerateOptions ToGenerateOptions(const mixtral_generate_options& given) {
  api::GenerateOptions options;
  options.sampling = {.temperature = given.temperature,
                      .top_k = given.top_k,
                      .top_p = given.top_p,
                      .min_p = given.min_p,
                      .repetition_penalty = given.repetition_penalty,
                      .seed = given.seed,
                      .typical_p = given.typical_p,
                      .frequency_penalty = given.frequency_penalty,
                      .presence_penalty = given.presence_penalty,
                      .min_tokens = given.min_tokens};
  for (const auto& [token, bias] :
       Items(given.logit_bias, given.n_logit_bias, "options.logit_bias"))
    options.sampling.logit_bias.push_back({.token = token, .bias = bias});
  options.max_tokens = given.max_tokens;
  for (const char* text : Items(given.stop, given.n_stop, "options.stop"))
    options.stop.emplace_back(&Required(text, "options.stop"));
  options.ignore_eos = given.ignore_eos != 0;
  options.policy = ToPolicy(given.policy);
  options.on_routing = ToObserver(given.on_routing, given.user);
  return options;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): C's names
const char* mixtral_version(void) { return api::Version().data(); }

const char* mixtral_last_error(void) { return last_error; }

int mixtral_open(const char* path, const mixtral_model_options* options, mixtral_model** model) {
  return Guard([&] {
    const auto given = ReadStruct(options, mixtral_model_options{}, "options");
    const api::ModelOptions model_options = {.threads = given.threads,
                                             .compute = static_cast<api::Compute>(given.compute),
                                             .max_experts_per_token = given.max_experts_per_token};
    mixtral_model*& opened = Required(model, "model");
    opened = new mixtral_model{api::Model(&Required(path, "path"), model_options)};
    return MIXTRAL_OK;
  });
}

void mixtral_close(mixtral_model* model) { delete model; }

int mixtral_get_info(const mixtral_model* model, mixtral_info* info) {
  return Guard([&] {
    const api::ModelInfo& known = Required(model, "model").model.info();
    mixtral_info values{};
    values.n_layers = known.n_layers;
    values.dim = known.dim;
    values.vocab_size = known.vocab_size;
    values.n_experts = known.n_experts;
    values.experts_per_token = known.experts_per_token;
    values.has_tokenizer = known.has_tokenizer ? 1 : 0;
    values.max_context = known.max_context;
    WriteStruct(values, &Required(info, "info"), "info");
    return MIXTRAL_OK;
  });
}

int mixtral_encode(const mixtral_model* model, const char* text, size_t n_bytes, int add_bos,
                   int32_t* tokens, size_t capacity, size_t* needed) {
  return Guard([&] {
    const auto bytes = Items(text, n_bytes, "text");
    return WriteBuffer(Required(model, "model")
                           .model.Encode({bytes.data(), bytes.size()},
                                         add_bos != 0 ? api::Bos::kAdd : api::Bos::kNo),
                       tokens, capacity, needed);
  });
}

int mixtral_decode(const mixtral_model* model, const int32_t* tokens, size_t n_tokens, char* text,
                   size_t capacity, size_t* needed) {
  return Guard([&] {
    return WriteBuffer(Required(model, "model").model.Decode(Items(tokens, n_tokens, "tokens")),
                       text, capacity, needed);
  });
}

int mixtral_logits(mixtral_model* model, const int32_t* tokens, size_t n_tokens,
                   const mixtral_policy* policy, mixtral_logits_callback* on_logits,
                   mixtral_routing_callback* on_routing, void* user) {
  return Guard([&] {
    Required(on_logits, "on_logits");
    Required(model, "model")
        .model.Logits(Items(tokens, n_tokens, "tokens"),
                      [&](int64_t position, std::span<const float> logits) {
                        on_logits(user, position, logits.data(), logits.size());
                      },
                      {.policy = ToPolicy(policy), .on_routing = ToObserver(on_routing, user)});
    return MIXTRAL_OK;
  });
}

void mixtral_generate_options_init(mixtral_generate_options* options, size_t struct_size) {
  if (options == nullptr) return;
  mixtral_generate_options defaults = DefaultGenerateOptions();
  defaults.struct_size = struct_size;  // checked when it is used
  std::memcpy(options, &defaults, std::min(struct_size, sizeof(defaults)));
}

int mixtral_session_open(mixtral_model* model, int64_t context, mixtral_session** session) {
  return Guard([&] {
    api::Model& of = Required(model, "model").model;
    mixtral_session*& opened = Required(session, "session");
    opened = new mixtral_session{api::Session(of, {.context = context}), {}};
    return MIXTRAL_OK;
  });
}

void mixtral_session_close(mixtral_session* session) { delete session; }

int mixtral_generate(mixtral_session* session, const int32_t* tokens, size_t n_tokens,
                     const mixtral_generate_options* options, mixtral_result* result) {
  return Guard([&] {
    mixtral_session& s = Required(session, "session");
    const auto given = ReadStruct(options, DefaultGenerateOptions(), "options");
    if (result != nullptr) KnownSize(*result, "result");
    s.last = s.session.Generate(Items(tokens, n_tokens, "tokens"), ToGenerateOptions(given),
                                [&](std::string_view text) {
                                  if (given.on_text != nullptr)
                                    given.on_text(given.user, text.data(), text.size());
                                });
    if (result == nullptr) return MIXTRAL_OK;
    mixtral_result values{};
    values.finish = static_cast<int32_t>(s.last.finish);
    values.prompt_tokens = s.last.prompt_tokens;
    values.prefill_tokens = s.last.prefill_tokens;
    values.generated_tokens = static_cast<int64_t>(s.last.tokens.size());
    values.prefill_seconds = s.last.prefill_seconds;
    values.decode_seconds = s.last.decode_seconds;
    WriteStruct(values, result, "result");
    return MIXTRAL_OK;
  });
}

const int32_t* mixtral_generated(const mixtral_session* session, size_t* n_tokens) {
  if (n_tokens != nullptr) *n_tokens = session == nullptr ? 0 : session->last.tokens.size();
  return session == nullptr ? nullptr : session->last.tokens.data();
}

void mixtral_cancel(mixtral_session* session) {
  if (session != nullptr) session->session.Cancel();
}

void mixtral_session_reset(mixtral_session* session) {
  if (session != nullptr) session->session.Reset();
}
// NOLINTEND(readability-identifier-naming)

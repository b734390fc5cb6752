/* SPDX-License-Identifier: Apache-2.0
 * The library for C11 and for other languages: opaque handles, plain structs, error codes. What the
 * names mean is said in mixtral.h and docs/library.md. No C++ exception leaves these functions.
 *
 * Functions that can fail return MIXTRAL_OK or an error code; mixtral_last_error says what was
 * expected and found. On failure outputs are as they were. Strings are UTF-8.
 *
 * Structs that a program fills begin with their size, so that it goes on working when a later
 * library adds fields at the end: mixtral_info info = {.struct_size = sizeof info}; fields that are
 * 0 mean the default. mixtral_generate_options has other defaults and an init function. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum mixtral_status {
  MIXTRAL_OK = 0,
  MIXTRAL_INVALID_ARGUMENT = 1,
  MIXTRAL_NOT_FOUND = 2,
  MIXTRAL_CORRUPT = 3,
  MIXTRAL_UNSUPPORTED = 4,
  MIXTRAL_OUT_OF_MEMORY = 5,
  MIXTRAL_IO = 6,
  MIXTRAL_INTERNAL = 7,
  MIXTRAL_TOO_SMALL = 8 /* a buffer; the size needed was written */
};

const char* mixtral_version(void); /* "0.1.0" */
/* One line about the last failure on this thread, "" before the first. Valid until the next one. */
const char* mixtral_last_error(void);

/* ---- Models ---- */

typedef struct mixtral_model mixtral_model; /* it and its sessions: one thread at a time */

enum mixtral_compute { MIXTRAL_COMPUTE_FAST = 0, MIXTRAL_COMPUTE_EXACT = 1 };

typedef struct mixtral_model_options {
  size_t struct_size;
  int32_t threads;               /* 0 = the CPUs of this process */
  int32_t compute;               /* enum mixtral_compute */
  int32_t max_experts_per_token; /* the largest mixtral_policy.k to come; 0 = the model's own */
} mixtral_model_options;

typedef struct mixtral_info {
  size_t struct_size;
  int32_t n_layers, dim, vocab_size;
  int32_t n_experts, experts_per_token; /* 0, 0: a dense model */
  int32_t has_tokenizer;
  int64_t max_context;
} mixtral_info;

/* options may be NULL. On success *model is to be closed with mixtral_close. */
int mixtral_open(const char* path, const mixtral_model_options* options, mixtral_model** model);
void mixtral_close(mixtral_model* model); /* after its sessions; NULL is fine */
int mixtral_get_info(const mixtral_model* model, mixtral_info* info);

/* Both write how many ids or bytes there are to *needed; with capacity 0 the buffer may be NULL and
 * only that is done. Text is not ended by a zero byte. */
int mixtral_encode(const mixtral_model* model, const char* text, size_t n_bytes, int add_bos,
                   int32_t* tokens, size_t capacity, size_t* needed);
int mixtral_decode(const mixtral_model* model, const int32_t* tokens, size_t n_tokens, char* text,
                   size_t capacity, size_t* needed);

/* ---- Routing ---- */

typedef struct mixtral_policy {
  size_t struct_size;
  int32_t k;            /* experts per token; 0 = the model's */
  const int32_t* force; /* always chosen */
  size_t n_force;
  const int32_t* ban; /* never chosen */
  size_t n_ban;
  const float* bias; /* one per expert or none: added for the choice, not to the weights */
  size_t n_bias;
} mixtral_policy;

typedef struct mixtral_routing {
  int32_t layer, n_tokens, k;
  int64_t first_position;
  const int32_t* expert_ids; /* [n_tokens, k] heaviest first */
  const float* weights;      /* [n_tokens, k] */
} mixtral_routing;

typedef void mixtral_text_callback(void* user, const char* text, size_t n_bytes);
typedef void mixtral_routing_callback(void* user, const mixtral_routing* routing);
typedef void mixtral_logits_callback(void* user, int64_t position, const float* logits, size_t n);

/* Calls on_logits for every position, in order. policy and on_routing may be NULL. */
int mixtral_logits(mixtral_model* model, const int32_t* tokens, size_t n_tokens,
                   const mixtral_policy* policy, mixtral_logits_callback* on_logits,
                   mixtral_routing_callback* on_routing, void* user);

/* ---- Generating ---- */

typedef struct mixtral_session mixtral_session;

enum mixtral_finish {
  MIXTRAL_FINISH_LENGTH = 0,
  MIXTRAL_FINISH_EOS = 1,
  MIXTRAL_FINISH_STOP = 2,
  MIXTRAL_FINISH_CONTEXT_FULL = 3,
  MIXTRAL_FINISH_CANCELLED = 4
};

typedef struct mixtral_logit_bias {
  int32_t token;
  float bias; /* -100..100, or -INFINITY: never chosen */
} mixtral_logit_bias;

typedef struct mixtral_generate_options {
  size_t struct_size;
  float temperature;
  int32_t top_k;
  float top_p, min_p, repetition_penalty;
  uint64_t seed;
  int32_t max_tokens; /* -1 = until the model ends or the context is full */
  int32_t ignore_eos;
  const char* const* stop; /* texts that end the generation */
  size_t n_stop;
  const mixtral_policy* policy;   /* may be NULL */
  mixtral_text_callback* on_text; /* text as soon as it is certain, in whole characters; or NULL */
  mixtral_routing_callback* on_routing; /* or NULL */
  void* user;                           /* for both */
  float typical_p;
  float frequency_penalty, presence_penalty; /* -2..2 */
  int32_t min_tokens;                        /* no end-of-sequence token before so many */
  const mixtral_logit_bias* logit_bias;
  size_t n_logit_bias;
} mixtral_generate_options;

typedef struct mixtral_result {
  size_t struct_size;
  int32_t finish;                                          /* enum mixtral_finish */
  int64_t prompt_tokens, prefill_tokens, generated_tokens; /* prefill: computed now */
  double prefill_seconds, decode_seconds;
} mixtral_result;

/* The defaults; struct_size is sizeof *options. */
void mixtral_generate_options_init(mixtral_generate_options* options, size_t struct_size);

/* context: positions, 0 = the model's own, at most 4096. */
int mixtral_session_open(mixtral_model* model, int64_t context, mixtral_session** session);
void mixtral_session_close(mixtral_session* session); /* NULL is fine */
/* options and result may be NULL. */
int mixtral_generate(mixtral_session* session, const int32_t* tokens, size_t n_tokens,
                     const mixtral_generate_options* options, mixtral_result* result);
/* The ids that the last mixtral_generate chose; valid until the next one. */
const int32_t* mixtral_generated(const mixtral_session* session, size_t* n_tokens);
/* Ends the mixtral_generate that runs, the next one when none runs. From any thread, a callback or
 * a signal handler. */
void mixtral_cancel(mixtral_session* session);
void mixtral_session_reset(mixtral_session* session);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

/* SPDX-License-Identifier: Apache-2.0
 * generate MODEL PROMPT [SEED]: what generate.cc does, in C. */
#include <mixtral/mixtral_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_text(void* user, const char* text, size_t n_bytes) {
  fwrite(text, 1, n_bytes, (FILE*)user);
  fflush((FILE*)user);
}

/* Reads and continues; every step may fail, the first failure ends it. */
static int generate(mixtral_model* model, const char* prompt, uint64_t seed) {
  size_t n_tokens = 0;
  int status = mixtral_encode(model, prompt, strlen(prompt), 1, NULL, 0, &n_tokens);
  if (status != MIXTRAL_OK) return status;
  int32_t* tokens = malloc(n_tokens * sizeof *tokens);
  mixtral_session* session = NULL;
  status = mixtral_encode(model, prompt, strlen(prompt), 1, tokens, n_tokens, &n_tokens);
  if (status == MIXTRAL_OK) status = mixtral_session_open(model, 0, &session);
  if (status == MIXTRAL_OK) {
    mixtral_generate_options options;
    mixtral_generate_options_init(&options, sizeof options);
    options.max_tokens = 40;
    options.seed = seed;
    options.on_text = print_text;
    options.user = stdout;
    mixtral_result result = {.struct_size = sizeof result};
    status = mixtral_generate(session, tokens, n_tokens, &options, &result);
    printf("\n");
    fprintf(stderr, "%lld tokens read, %lld written\n", (long long)result.prompt_tokens,
            (long long)result.generated_tokens);
  }
  mixtral_session_close(session);
  free(tokens);
  return status;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: generate MODEL PROMPT [SEED]\n");
    return 1;
  }
  mixtral_model* model = NULL;
  int status = mixtral_open(argv[1], NULL, &model);
  if (status == MIXTRAL_OK)
    status = generate(model, argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
  if (status != MIXTRAL_OK) fprintf(stderr, "generate: %s\n", mixtral_last_error());
  mixtral_close(model);
  return status == MIXTRAL_OK ? 0 : 2;
}

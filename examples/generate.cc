// SPDX-License-Identifier: Apache-2.0
// generate MODEL PROMPT [SEED]: continues a text, as `mixtral run` does with the same seed.
#include <mixtral/mixtral.h>

#include <cstdio>
#include <cstdlib>

namespace mx = mixtral::api;

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: generate MODEL PROMPT [SEED]\n"), 1;
  try {
    mx::Model model(argv[1]);
    mx::Session session(model);
    mx::GenerateOptions options;
    options.max_tokens = 40;
    options.sampling.seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
    const mx::Generation generation =
        session.Generate(model.Encode(argv[2]), options, [](std::string_view text) {
          std::fwrite(text.data(), 1, text.size(), stdout);
          std::fflush(stdout);
        });
    std::printf("\n");
    std::fprintf(stderr, "%lld tokens read, %zu written\n",
                 static_cast<long long>(generation.prompt_tokens), generation.tokens.size());
  } catch (const mx::Error& error) {
    return std::fprintf(stderr, "generate: %s\n", error.what()), 2;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Trains a SentencePiece BPE tokenizer of the kind that Mistral and Llama 2 have: byte fallback,
// single digits, no normalisation, <unk> <s> </s> as ids 0 1 2. The only face of libsentencepiece's
// trainer. Called by `mixtral data tokenizer`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/row_reader.h"

namespace mixtral::data {

struct TokenizerTrainOptions {
  std::vector<InputFile> inputs;
  std::string text_field = "text";
  int vocab_size = 32000;
  std::vector<std::string> symbols;   // user-defined pieces that are never split
  std::vector<std::string> controls;  // control pieces: only ids, never found in text
  double character_coverage = 0.9999;
  int max_piece_characters = 16;
  uint64_t sample_bytes = uint64_t{100} << 20;  // of text, equal shares for all domains
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};  // of reading
};

struct TrainedTokenizer {
  std::string model;          // bytes of tokenizer.model
  uint64_t n_text_bytes = 0;  // that it was trained on
  uint64_t n_wrong_rows = 0;  // left out
};

/// The same bytes for the same inputs and options. Throws
/// Error{kInvalidArgument} when the texts do not have enough distinct pieces for the vocabulary,
/// and what RowReader throws.
TrainedTokenizer TrainTokenizer(const TokenizerTrainOptions& options);

}  // namespace mixtral::data

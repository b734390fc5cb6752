// SPDX-License-Identifier: Apache-2.0
// tokenizer.json (Hugging Face's "fast" tokenizers) -> Vocabulary, for those that were made from a
// SentencePiece BPE model, as all Mistral and Llama ones are: the ids are then those of the
// tokenizer.model they were made from. Others are refused by name. Called by Tokenizer.
#pragma once

#include <string_view>

#include "text/vocabulary.h"

namespace mixtral {

/// Throws Error{kCorrupt} naming the JSON path for a file that contradicts itself,
/// Error{kUnsupported} naming the model type, normaliser or setting that cannot be run exactly.
Vocabulary ParseTokenizerJson(std::string_view json);

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// tokenizer.model bytes <-> Vocabulary: a strict reader of the fields of SentencePiece's ModelProto
// that matter here, and a writer of a minimal one. Called by Tokenizer and by tests; what is read
// is validated (vocabulary.h), what the library gets is only what the writer wrote.
#pragma once

#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace mixtral {

/// Throws Error{kCorrupt} for bytes that are no sound model, Error{kUnsupported} naming the setting
/// for a sound one that this program cannot run exactly (word or char models, a normaliser with a
/// character map, whitespace as suffix).
Vocabulary ParseSentencePieceModel(std::string_view model_bytes);

/// A ModelProto with the vocabulary's pieces and settings and nothing else. A control piece of a
/// single character gets another name in it, because the library would match it in text.
std::string SerializeSentencePieceModel(const Vocabulary& vocabulary);

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// What a single token adds to a text.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace mixtral {

/// Byte pieces as their byte, the word mark as a space; control pieces as they are written. May be
/// a part of a UTF-8 character.
std::string TokenBytes(const Tokenizer& tokenizer, TokenId id);

}  // namespace mixtral

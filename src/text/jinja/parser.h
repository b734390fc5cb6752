// SPDX-License-Identifier: Apache-2.0
// Tokens -> tree. Called by Template; refuses at once what a chat template can never need (files,
// inheritance, host access), while unknown filters, tests and functions are refused when reached.
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace mixtral::jinja {

/// Throws Error{kCorrupt} for what is no template, Error{kUnsupported} for a statement or operator
/// outside the subset; both name the line.
Block Parse(std::string_view source);

}  // namespace mixtral::jinja

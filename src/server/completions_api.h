// SPDX-License-Identifier: Apache-2.0
// POST /v1/completions: texts or token ids continued, with echo and log-probabilities of the
// prompt.
#pragma once

#include "server/generation.h"

namespace mixtral::server {

/// On the worker thread. Throws Error and HttpError for requests that are refused.
void Completions(const ExchangePtr& exchange, const HandlerContext& context);

/// A string, strings, token ids or lists of them -> lists of ids, each with BOS in front of a text.
/// what names the field in errors.
std::vector<std::vector<TokenId>> PromptsOf(const Json& value, const ServedModel& model,
                                            std::string_view what);

}  // namespace mixtral::server

// SPDX-License-Identifier: Apache-2.0
// POST /v1/messages and /v1/messages/count_tokens: Anthropic's messages as a thin converter to a
// chat and back.
#pragma once

#include "server/generation.h"

namespace mixtral::server {

// On the worker thread. Throw Error and HttpError for requests that are refused.
void AnthropicMessages(const ExchangePtr& exchange, const HandlerContext& context);
void AnthropicCountTokens(const ExchangePtr& exchange, const HandlerContext& context);

}  // namespace mixtral::server

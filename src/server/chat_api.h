// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions: OpenAI's chat, whole and as events.
#pragma once

#include "server/generation.h"

namespace mixtral::server {

/// On the worker thread. Throws Error and HttpError for requests that are refused.
void ChatCompletions(const ExchangePtr& exchange, const HandlerContext& context);

}  // namespace mixtral::server

// SPDX-License-Identifier: Apache-2.0
// Anthropic's request body as a ChatRequest.
#pragma once

#include "server/chat_request.h"

namespace mixtral::server {

enum class NeedsMaxTokens : uint8_t { kNo, kYes };

/// Throws Error and HttpError naming the field.
ChatRequest ParseAnthropic(const Json& body, const ServedModel& model, NeedsMaxTokens needs);

}  // namespace mixtral::server

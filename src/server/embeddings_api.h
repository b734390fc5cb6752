// SPDX-License-Identifier: Apache-2.0
// POST /v1/embeddings: pooled hidden states of the last layer, as floats or base64.
#pragma once

#include "server/generation.h"

namespace mixtral::server {

/// On the worker thread. Throws Error and HttpError for requests that are refused.
void Embeddings(const ExchangePtr& exchange, const HandlerContext& context);

}  // namespace mixtral::server

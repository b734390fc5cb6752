// SPDX-License-Identifier: Apache-2.0
// POST /tokenize, /detokenize, /apply-template, in llama.cpp's and in vLLM's spelling.
#pragma once

#include "server/generation.h"

namespace mixtral::server {

// On the worker thread. Throw Error and HttpError for requests that are refused.
void Tokenize(const ExchangePtr& exchange, const HandlerContext& context);
void Detokenize(const ExchangePtr& exchange, const HandlerContext& context);
void ApplyTemplate(const ExchangePtr& exchange, const HandlerContext& context);

}  // namespace mixtral::server

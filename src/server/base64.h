// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648, with padding): embeddings and routing as bytes inside JSON. Encoding alone;
// nothing that comes in is base64.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mixtral::server {

std::string Base64(std::string_view bytes);
/// Little-endian float32, what the clients of embeddings read.
std::string Base64Floats(std::span<const float> values);

}  // namespace mixtral::server

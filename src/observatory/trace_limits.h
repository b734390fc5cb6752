// SPDX-License-Identifier: Apache-2.0
// Marks and limits of the trace format (docs/routing.md), for its writer and its reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mixtral::observatory {

inline constexpr std::string_view kTraceMagic = "MXROUTE\n";
inline constexpr uint32_t kTraceVersion = 1;
inline constexpr size_t kFingerprintBytes = 32;
inline constexpr size_t kMaxModelName = 4096, kMaxPiece = 4096, kMaxDomain = 256;  // bytes
inline constexpr uint32_t kMaxTraceLayers = 4096;
inline constexpr uint32_t kMaxTraceVocabulary = 1u << 24, kMaxTraceDim = 1u << 20;

enum class TraceBlock : uint8_t { kEnd = 0, kPiece = 1, kSequence = 2 };

}  // namespace mixtral::observatory

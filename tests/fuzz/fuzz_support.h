// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. An input may be refused with an Error and with nothing else: any
// other exception, any sanitizer report, any hang and any memory beyond the limit is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "base/error.h"
#include "tensor/view.h"

namespace mixtral::fuzz {

/// Runs fn; true when it did not throw an Error.
template <class Fn>
bool Accepts(Fn&& fn) {
  try {
    fn();
    return true;
  } catch (const Error& error) {
    // One line for the user, whatever bytes it quotes.
    for (const char c : std::string_view(error.what()))
      if (c == '\n' || c == '\0') std::abort();
    return false;
  }
}

inline std::span<const std::byte> Bytes(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Aborts unless the view has the bytes that its shape asks for; reads the first and the last, for
/// the address sanitizer to judge.
inline void TouchEnds(const TensorView& view) {
  const int64_t elements = view.Elements();
  const auto block = static_cast<size_t>(Info(view.dtype).block_elements);
  if (elements < 0 || view.rank < 0 || view.rank > 4 ||
      view.bytes.size() !=
          static_cast<size_t>(elements) / block * static_cast<size_t>(Info(view.dtype).block_bytes))
    std::abort();
  if (view.bytes.empty()) return;
  volatile uint8_t sink = static_cast<uint8_t>(view.bytes.front());
  sink = static_cast<uint8_t>(view.bytes.back());
  static_cast<void>(sink);
}

}  // namespace mixtral::fuzz

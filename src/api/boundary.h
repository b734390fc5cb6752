// SPDX-License-Identifier: Apache-2.0
// Where the library's errors become those of the public header. Every function of the C++ API that
// can fail runs inside Translate; what the caller's own functions throw passes through.
#pragma once

#include <utility>

#include "base/error.h"
#include "mixtral/mixtral.h"

namespace mixtral::api {

template <class Fn>
decltype(auto) Translate(Fn&& fn) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const mixtral::Error& error) {
    // The public codes are the internal ones, counted from 1 (0 is "no error" in C).
    throw Error(static_cast<ErrorCode>(static_cast<int>(error.code()) + 1), error.what());
  }
}

static_assert(static_cast<int>(ErrorCode::kInvalidArgument) ==
              static_cast<int>(mixtral::ErrorCode::kInvalidArgument) + 1);
static_assert(static_cast<int>(ErrorCode::kNotFound) ==
              static_cast<int>(mixtral::ErrorCode::kNotFound) + 1);
static_assert(static_cast<int>(ErrorCode::kCorrupt) ==
              static_cast<int>(mixtral::ErrorCode::kCorrupt) + 1);
static_assert(static_cast<int>(ErrorCode::kUnsupported) ==
              static_cast<int>(mixtral::ErrorCode::kUnsupported) + 1);
static_assert(static_cast<int>(ErrorCode::kOutOfMemory) ==
              static_cast<int>(mixtral::ErrorCode::kOutOfMemory) + 1);
static_assert(static_cast<int>(ErrorCode::kIo) == static_cast<int>(mixtral::ErrorCode::kIo) + 1);
static_assert(static_cast<int>(ErrorCode::kInternal) ==
              static_cast<int>(mixtral::ErrorCode::kInternal) + 1);

}  // namespace mixtral::api

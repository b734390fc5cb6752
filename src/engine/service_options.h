// SPDX-License-Identifier: Apache-2.0
// The options of a service with every zero replaced by what it means on this machine, and the
// checks of a request against them. Used by service.cc.
#pragma once

#include <cstdint>

#include "engine/service.h"

namespace mixtral {

inline constexpr int kMaxChoices = 128;

/// What the system says that programs may still take; 0 where it says nothing.
uint64_t FreeMemory();

/// free_bytes: what this process may still take. Throws Error{kInvalidArgument} for numbers that
/// cannot be, Error{kOutOfMemory} when the budget cannot hold one full context.
ServiceOptions FillOptions(const Engine& engine, ServiceOptions options, uint64_t free_bytes);

/// Throws Error{kInvalidArgument} naming the field for a request that can never run.
void CheckRequest(const Engine& engine, const ServiceOptions& options,
                  const ServiceRequest& request);

}  // namespace mixtral

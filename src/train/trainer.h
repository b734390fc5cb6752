// SPDX-License-Identifier: Apache-2.0
// The training loop: `mixtral-train train|sft|dpo`. Called by commands.cc.
#pragma once

#include "train/train_config.h"

namespace mixtral::train {

enum class TrainOutcome : uint8_t { kDone, kInterrupted };

/// Trains from the newest checkpoint of config.out, or from the start, to config.steps, and exports
/// config.out/export. Asked to stop by SIGINT or SIGTERM it saves first. Throws Error.
TrainOutcome Train(const TrainConfig& config);

}  // namespace mixtral::train

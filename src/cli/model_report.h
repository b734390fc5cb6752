// SPDX-License-Identifier: Apache-2.0
// What `info` knows about a model, as one JSON object; and the same as text. Reads metadata alone,
// no weights.
#pragma once

#include <string>

#include "base/json.h"
#include "io/checkpoint.h"

namespace mixtral::cli {

/// format, architecture, parameters, bytes, tokenizer, chat format, notices.
Json DescribeModel(const Checkpoint& checkpoint);
/// Every tensor: name, type, shape, bytes.
Json DescribeTensors(const Checkpoint& checkpoint);
/// Every kernel slot and the instruction set that fills it on this machine. Throws
/// Error{kInvalidArgument} for a wrong MIXTRAL_ISA.
Json DescribeKernels();

/// The object that info prints, as lines for people.
std::string ReportText(const Json& report);

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// What a matrix product can reach on this machine, measured, so that a training speed can be said
// as a share of it.
#pragma once

namespace mixtral::train {

/// Best of a few f32 products of 1024 x 1024 matrices with the threads that training uses, in
/// floating-point operations per second. Takes about half a second.
double GemmPeak();

}  // namespace mixtral::train

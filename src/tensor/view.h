// SPDX-License-Identifier: Apache-2.0
// Every view of numbers in memory. None of them owns, resizes or moves anything.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace mixtral {

/// A tensor of a checkpoint as it lies in its file: row-major, slowest dimension first (shape[0] =
/// rows).
struct TensorView {
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, 4> shape{};  // unused trailing dimensions are 0
  std::span<const std::byte> bytes;

  int64_t Elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[static_cast<size_t>(i)];
    return n;
  }
};

/// A dense row-major matrix of T in host memory; stride counts elements between rows.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  T* Row(int64_t r) const { return data + r * stride; }
  T& At(int64_t r, int64_t c) const { return data[r * stride + c]; }
  operator Matrix<const T>()
      const {  // NOLINT(google-explicit-constructor): a view of constants from a view
    return {data, rows, cols, stride};
  }
};

enum class Device : uint8_t { kCpu, kCuda };

/// A weight matrix [rows, cols] (a vector has rows = 1) on a device. Made by Backend::Upload, so
/// that a host pointer cannot pass for a device one. Rows are contiguous blocks of dtype, row r at
/// data + r * row_bytes.
struct WeightRef {
  Device device = Device::kCpu;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;
  const void* data = nullptr;
  size_t row_bytes = 0;

  bool empty() const { return data == nullptr; }
  size_t Bytes() const { return static_cast<size_t>(rows) * RowBytes(dtype, cols); }
};

}  // namespace mixtral

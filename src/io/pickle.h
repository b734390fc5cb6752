// SPDX-License-Identifier: Apache-2.0
// The part of Python's pickle format, protocol 2, that a state dict of tensors needs: a reader that
// builds descriptions and executes nothing. A name of Python's that is not in its short list is
// refused, never looked up. Called by torch_zip.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mixtral {

/// A tensor as a state dict describes it: a piece of a storage. Texts are views into the pickle.
struct PickledTensor {
  std::string_view name;
  std::string_view storage_class;  // "BFloat16Storage"
  std::string_view storage_key;    // names the archive's member
  int64_t storage_elements = 0;
  int64_t offset = 0;                   // elements into the storage
  std::vector<int64_t> shape, strides;  // of one length, at most 4
};

/// Top level: a dict or OrderedDict of name -> tensor. Throws Error{kCorrupt, kUnsupported}, ending
/// with ", in WHERE".
std::vector<PickledTensor> ParsePickledStateDict(std::span<const std::byte> bytes,
                                                 std::string_view where = "pickle");

}  // namespace mixtral

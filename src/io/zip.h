// SPDX-License-Identifier: Apache-2.0
// A zip archive of stored (uncompressed) members, as torch.save writes them: their bytes are used
// where they are mapped. The central directory decides; local headers must agree with it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral {

struct ZipMember {
  std::string name;
  std::span<const std::byte> bytes;
};

/// The members in order of their bytes. Reads zip64 records. Throws Error{kCorrupt, kUnsupported}
/// naming WHERE:MEMBER for what is cut short, overlaps, is compressed, encrypted, of several disks,
/// or named twice or to lead out of a folder. Checksums are not compared: that would read every
/// byte, and newer PyTorch may leave them out.
std::vector<ZipMember> ParseZip(std::span<const std::byte> bytes, std::string_view where = "zip");

}  // namespace mixtral

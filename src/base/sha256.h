// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), whole or in pieces: identities of files and documents. Plain C++, about
// 200 MB/s; not meant for secrets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mixtral {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text) { Update(std::as_bytes(std::span(text.data(), text.size()))); }
  Sha256Digest Finish();  // once

 private:
  void Block(const uint8_t* block);

  std::array<uint32_t, 8> state_ = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  std::array<uint8_t, 64> pending_ = {};
  uint64_t n_bytes_ = 0;
};

std::string Hex(std::span<const uint8_t> bytes);  // lower case
std::string Sha256Hex(std::string_view bytes);

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), whole or in pieces, by libcrypto (included by sha256.cc alone): identities
// and checksums of files and documents; not meant for secrets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mixtral {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text) { Update(std::as_bytes(std::span(text.data(), text.size()))); }
  Sha256Digest Finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Hex(std::span<const uint8_t> bytes);  // lower case
std::string Sha256Hex(std::string_view bytes);

}  // namespace mixtral

// SPDX-License-Identifier: Apache-2.0
// The digest of OpenSSL's libcrypto, which uses the processor's SHA instructions where it has them.
#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/error.h"

namespace mixtral {
namespace {

void Require(bool holds) {
  if (!holds) Throw(ErrorCode::kInternal, "libcrypto: expected SHA-256, found it failing");
}

}  // namespace

struct Sha256::State {
  State() = default;
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  Require(state_->context != nullptr);
  Require(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::Update(std::span<const std::byte> bytes) {
  Require(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest = {};
  unsigned n_bytes = 0;
  Require(EVP_DigestFinal_ex(state_->context, digest.data(), &n_bytes) == 1);
  Require(n_bytes == digest.size());
  return digest;
}

std::string Hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return Hex(hash.Finish());
}

}  // namespace mixtral

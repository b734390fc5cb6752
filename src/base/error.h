// SPDX-License-Identifier: Apache-2.0
// The whole error vocabulary: one exception type with a code, one way to throw it, one way to add
// context. Thrown at load and at boundaries; caught only in cli/main.cc, the server's request
// boundary and the engine thread.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace mixtral {

enum class ErrorCode {
  kInvalidArgument,  // a flag, a request field, a wrong value given by the user
  kNotFound,         // a file, a tensor or a key that should be there
  kCorrupt,          // bytes that contradict their own format
  kUnsupported,      // valid, but not something this program can run
  kOutOfMemory,      // memory asked for at load that cannot be had
  kIo,               // read, write, map or rename failed
  kInternal,         // our own bug, reported without aborting
};

std::string_view ErrorCodeName(ErrorCode code);  // "not found", "corrupt", ...

/// The only exception the library throws. what() is one line: "what: expected X, found Y, in
/// FILE:tensor".
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

template <class... Args>
[[noreturn]] void Throw(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Runs fn; an Error that leaves it comes out with the same code and "message, in CONTEXT". A
/// message that already ends so stays as it is.
template <class Fn>
decltype(auto) WithContext(std::string_view context, Fn&& fn) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const Error& error) {
    const std::string suffix = fmt::format(", in {}", context);
    if (std::string_view(error.what()).ends_with(suffix)) throw;
    throw Error(error.code(), error.what() + suffix);
  }
}

}  // namespace mixtral

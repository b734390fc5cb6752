// SPDX-License-Identifier: Apache-2.0
// Writes JSON text straight into a buffer that its owner reuses: the token path allocates no
// documents. Every string comes out as valid UTF-8 in one line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mixtral::server {

/// Appends text escaped, without quotes; bytes that are not UTF-8 become U+FFFD.
void AppendJsonEscaped(std::string_view text, std::string* out);

/// Puts the commas itself. The caller opens and closes what belongs together.
class JsonWriter {
 public:
  explicit JsonWriter(std::string* out) : out_(out) {}

  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  JsonWriter& String(std::string_view text);
  JsonWriter& StringOrNull(std::string_view text) { return text.empty() ? Null() : String(text); }
  JsonWriter& Int(int64_t value);
  JsonWriter& Real(double value);  // null when not finite
  JsonWriter& Float(float value);  // with the digits that a float needs
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  JsonWriter& Raw(std::string_view json);  // a value that is JSON already

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Comma();

  std::string* out_;
  bool needs_comma_ = false;
};

}  // namespace mixtral::server

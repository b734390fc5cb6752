// SPDX-License-Identifier: Apache-2.0
// Escaping by RFC 8259; U+2028, U+2029 and DEL are escaped, too, so that a log or an event stays in
// one line wherever it is read.
#include "server/json_writer.h"

#include <cmath>
#include <iterator>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::server {
namespace {

bool IsPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

void AppendEscape(char c, std::string* out) {
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", static_cast<unsigned char>(c));
  }
}

void AppendValid(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    while (i < text.size() && IsPlain(text[i])) ++i;
    out->append(text.substr(begin, i - begin));
    if (i == text.size()) break;
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9")) {
      *out += rest[2] == '\xA8' ? "\\u2028" : "\\u2029";
      i += 3;
    } else if (static_cast<unsigned char>(text[i]) >= 0x80) {
      *out += text[i++];
    } else {
      AppendEscape(text[i++], out);
    }
  }
}

}  // namespace

void AppendJsonEscaped(std::string_view text, std::string* out) {
  if (IsValidUtf8(text)) return AppendValid(text, out);
  AppendValid(ReplaceInvalidUtf8(text), out);
}

void JsonWriter::Comma() {
  if (needs_comma_) *out_ += ',';
  needs_comma_ = true;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Comma();
  *out_ += bracket;
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  *out_ += bracket;
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  String(key);
  *out_ += ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view text) {
  Comma();
  *out_ += '"';
  AppendJsonEscaped(text, out_);
  *out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::Int(int64_t value) {
  Comma();
  fmt::format_to(std::back_inserter(*out_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::Real(double value) {
  if (!std::isfinite(value)) return Null();
  Comma();
  fmt::format_to(std::back_inserter(*out_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::Float(float value) {
  if (!std::isfinite(value)) return Null();
  Comma();
  fmt::format_to(std::back_inserter(*out_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Comma();
  *out_ += json;
  return *this;
}

}  // namespace mixtral::server

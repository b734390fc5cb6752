// SPDX-License-Identifier: Apache-2.0
// Json's own errors name path, expectation and finding; ToHttpError makes the param of the path.
#include "server/fields.h"

#include <algorithm>

#include "base/strings.h"

namespace mixtral::server {
namespace {

/// "$.a.b" -> "a.b".
std::string ParamOf(const Json& value) {
  const std::string& path = value.path();
  return path.starts_with("$.") ? path.substr(2) : path;
}

}  // namespace

Json ParseBody(const HttpRequest& request) {
  const std::string* type = request.Header("content-type");
  if (type != nullptr && type->find("json") == std::string::npos)
    throw HttpError(
        415, fmt::format("Content-Type: expected application/json, found '{}'", Printable(*type)),
        "", "unsupported_media_type");
  Json body = Json::Parse(request.body, "the request body");
  if (!body.IsObject()) throw HttpError(400, "the request body: expected a JSON object");
  return body;
}

std::optional<int64_t> IntField(const Json& object, std::string_view name, int64_t min,
                                int64_t max) {
  const auto value = object.Find(name);
  if (!value) return std::nullopt;
  return value->AsInt(min, max);
}

std::optional<double> RealField(const Json& object, std::string_view name, double min, double max) {
  const auto value = object.Find(name);
  if (!value) return std::nullopt;
  const double number = value->AsDouble();
  if (!(number >= min && number <= max))
    ThrowField(ParamOf(*value), "expected a number from {} to {}, found {}", min, max, number);
  return number;
}

std::optional<bool> BoolField(const Json& object, std::string_view name) {
  const auto value = object.Find(name);
  if (!value) return std::nullopt;
  return value->AsBool();
}

std::optional<std::string> TextField(const Json& object, std::string_view name, size_t max_bytes) {
  const auto value = object.Find(name);
  if (!value) return std::nullopt;
  std::string text = value->AsString();
  if (text.size() > max_bytes)
    ThrowField(ParamOf(*value), "expected at most {} bytes, found {}", max_bytes, text.size());
  return text;
}

std::string ChoiceField(const Json& object, std::string_view name,
                        std::vector<std::string_view> names, std::string_view otherwise) {
  const auto value = object.Find(name);
  if (!value) return std::string(otherwise);
  std::string text = value->AsString();
  if (std::find(names.begin(), names.end(), text) != names.end()) return text;
  std::string list;
  for (const std::string_view choice : names)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", choice);
  ThrowField(ParamOf(*value), "expected one of {}, found '{}'", list, Printable(text, 40));
}

void RefuseField(const Json& object, std::string_view name, std::string_view why) {
  const auto value = object.Find(name);
  if (!value || (value->IsBool() && !value->AsBool())) return;
  throw HttpError(400, fmt::format("{}: {}", ParamOf(*value), why), ParamOf(*value), "unsupported");
}

std::vector<std::string> TextOrTexts(const Json& value, size_t max_items) {
  if (value.IsString()) return {value.AsString()};
  if (!value.IsArray())
    ThrowField(ParamOf(value), "expected a string or a list of strings, found something else");
  if (value.Size() > max_items)
    ThrowField(ParamOf(value), "expected at most {} strings, found {}", max_items, value.Size());
  std::vector<std::string> texts;
  for (size_t i = 0; i < value.Size(); ++i) texts.push_back(value.At(i).AsString());
  return texts;
}

std::vector<TokenId> TokenIds(const Json& array, int vocab_size) {
  std::vector<TokenId> ids;
  for (const int64_t id : array.AsIntArray()) {
    if (id < 0 || id >= vocab_size)
      ThrowField(ParamOf(array), "expected token ids from 0 to {}, found {}", vocab_size - 1, id);
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

}  // namespace mixtral::server

// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/call.h"

#include <algorithm>

#include "text/jinja/utf8.h"

namespace mixtral::jinja {

void Call::Refuse(std::string_view why) const {
  Throw(ErrorCode::kUnsupported, "chat template line {}: {}{}{}", line_, what_,
        what_.empty() ? "" : ": ", why);
}

void Call::Fail(std::string_view expected, const Value& found) const {
  Refuse(fmt::format("expected {}, found {}", expected, TypeName(found)));
}

std::vector<Value> Call::Bind(std::initializer_list<std::string_view> names) const {
  if (values.size() > names.size()) {
    Refuse(fmt::format("expected at most {} arguments, found {}", names.size(), values.size()));
  }
  std::vector<Value> bound = values;
  bound.resize(names.size());
  for (const auto& [name, value] : named) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) Refuse(fmt::format("argument '{}' is not supported", name));
    bound[static_cast<size_t>(at - names.begin())] = value;
  }
  return bound;
}

const std::string& Call::String(const Value& value) const {
  if (!value.Is(Type::kString)) Fail("a string", value);
  return value.string();
}

int64_t Call::Whole(const Value& value) const {
  if (!value.IsWhole()) Fail("an integer", value);
  return value.whole();
}

int64_t Call::WholeOr(const Value& value, int64_t otherwise) const {
  const bool is_given = !value.Is(Type::kUndefined) && !value.Is(Type::kNone);
  return is_given ? Whole(value) : otherwise;
}

Value Call::NewString(std::string text) const {
  budget_->Bytes(sizeof(std::string) + text.size());
  return Value::String(std::move(text));
}

Value Call::NewList(List items) const {
  budget_->Bytes(sizeof(Value) * (items.size() + 1));
  return Value::MakeList(std::move(items));
}

Value Call::NewStrings(const std::vector<std::string_view>& parts) const {
  List items;
  for (const std::string_view part : parts) items.push_back(NewString(part));
  return NewList(std::move(items));
}

List Call::Items(const Value& value) const {
  switch (value.type()) {
    case Type::kUndefined:
      return {};
    case Type::kList:
      budget_->Bytes(sizeof(Value) * value.list().size());
      return value.list();
    case Type::kString: {
      budget_->Bytes(sizeof(std::string_view) * value.string().size());
      List items;
      for (const std::string_view c : Characters(value.string())) items.push_back(NewString(c));
      return items;
    }
    case Type::kDict: {
      List items;
      for (const auto& [key, item] : value.dict()) items.push_back(NewString(key));
      return items;
    }
    default:
      Fail("something to loop over", value);
  }
}

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// What a filter, test, method or function gets when it is called: arguments, the budget, and how to
// refuse. Shared by the evaluator and the tables of built-in functions.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/jinja/value.h"

namespace mixtral::jinja {

class Call {
 public:
  Call(Budget* budget, int line, std::string what)
      : budget_(budget), line_(line), what_(std::move(what)) {}

  std::vector<Value> values;
  std::vector<std::pair<std::string_view, Value>> named;

  Budget* budget() const { return budget_; }
  /// Arguments in the order of names, undefined where none was given. Refuses others.
  std::vector<Value> Bind(std::initializer_list<std::string_view> names) const;
  /// "chat template line 3: filter trim: expected X, found Y".
  [[noreturn]] void Fail(std::string_view expected, const Value& found) const;
  [[noreturn]] void Refuse(std::string_view why) const;

  // An argument as what it must be.
  const std::string& String(const Value& value) const;
  int64_t Whole(const Value& value) const;
  int64_t WholeOr(const Value& value, int64_t otherwise) const;  // of undefined or none

  /// A new string, paid for.
  Value NewString(std::string text) const;
  Value NewString(std::string_view text) const { return NewString(std::string(text)); }
  Value NewList(List items) const;
  Value NewStrings(const std::vector<std::string_view>& parts) const;
  /// What a loop over value sees: items, keys, characters; nothing for undefined.
  List Items(const Value& value) const;

 private:
  Budget* budget_;
  int line_;
  std::string what_;
};

/// Each refuses a name that it does not know.
Value CallFilter(std::string_view name, const Value& input, const Call& call);
bool CallTest(std::string_view name, const Value& input, const Call& call);
Value CallMethod(std::string_view name, const Value& object, const Call& call);
bool IsMethod(const Value& object, std::string_view name);

// Operators; call says where and pays.
Value Calculate(std::string_view op, const Value& a, const Value& b, const Call& call);
bool Compare(std::string_view op, const Value& a, const Value& b, const Call& call);
Value Index(const Value& object, const Value& index, const Call& call);
/// begin, end and step may be undefined or none.
Value Slice(const Value& object, const Value& begin, const Value& end, const Value& step,
            const Call& call);
/// Where part is in text, from a place on; npos where not. Both pay for the search.
size_t Find(std::string_view text, std::string_view part, size_t from, Budget* budget);
size_t FindLast(std::string_view text, std::string_view part, Budget* budget);

}  // namespace mixtral::jinja

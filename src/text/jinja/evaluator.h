// SPDX-License-Identifier: Apache-2.0
// Walks a tree for one rendering. Made and thrown away by Template.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/call.h"
#include "text/jinja/template.h"

namespace mixtral::jinja {

class Evaluator {
 public:
  explicit Evaluator(const Globals& globals);
  Output Run(const Block& root);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue, kStop };  // kStop: raise_exception
  using Scope = std::unordered_map<std::string_view, Value>;

  Flow Execute(const Block& block);
  Flow ExecuteOne(const Statement& statement);
  Flow ExecuteIf(const Statement& statement);
  Flow ExecuteFor(const Statement& statement);
  void ExecuteSet(const Statement& statement);
  Flow ExecuteSetBlock(const Statement& statement);
  void BindTargets(const Statement& loop, const Value& item);
  List FilterItems(const Statement& loop, List items);
  void Write(std::string_view text);

  Value Evaluate(const Expr& expr);
  Value EvaluateNode(const Expr& expr);
  Value EvaluateOptional(const ExprPtr& expr) { return expr ? Evaluate(*expr) : Value(); }
  Value EvaluateDict(const Expr& expr);
  Value EvaluateAttribute(const Expr& expr);
  Value EvaluateCompare(const Expr& expr);
  Value EvaluateCall(const Expr& expr);
  Value CallFunction(std::string_view name, const Call& call);
  Value CallMacro(const Statement& macro, const Call& call);
  Value MakeRange(const Call& call);
  Value MakeNamespace(const Call& call);
  Value Look(std::string_view name);
  Call At(const Expr& expr, std::string what);
  void FillArguments(const Expr& expr, Call* call);
  Value LoopInfo(const List& items, size_t i) const;

  Budget budget_;
  std::vector<Scope> scopes_;  // [0]: the template's own
  std::unordered_map<std::string_view, const Statement*> macros_;
  std::deque<Namespace> namespaces_;  // addresses stay
  std::string* out_ = nullptr;
  std::optional<std::string> raised_;
  int depth_ = 0;
};

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// Scopes are Jinja's: a loop's body and a macro see what is around them, and what they set is gone
// when they end; "if" makes no scope.
#include "text/jinja/evaluator.h"

#include <algorithm>
#include <utility>

namespace mixtral::jinja {
namespace {

constexpr int kMaxDepth = 300;  // of evaluation: trees inside macros inside macros
constexpr size_t kMaxRange = 100'000;

template <class T>
class Restore {
 public:
  Restore(T* place, T value) : place_(place), old_(std::exchange(*place, std::move(value))) {}
  ~Restore() { *place_ = std::move(old_); }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T* place_;
  T old_;
};

}  // namespace

Evaluator::Evaluator(const Globals& globals) : scopes_(1) {
  for (const auto& [name, value] : globals) scopes_[0].emplace(name, value);
}

Output Evaluator::Run(const Block& root) {
  Output output;
  out_ = &output.text;
  Execute(root);
  output.raised = std::move(raised_);
  return output;
}

void Evaluator::Write(std::string_view text) {
  if (text.size() > kMaxOutputBytes - std::min(out_->size(), kMaxOutputBytes)) {
    Throw(ErrorCode::kUnsupported, "chat template: expected at most {} bytes of output, found more",
          kMaxOutputBytes);
  }
  budget_.Bytes(text.size());
  out_->append(text);
}

Evaluator::Flow Evaluator::Execute(const Block& block) {
  const Restore<int> deeper(&depth_, depth_ + 1);
  for (const Statement& statement : block) {
    budget_.Steps();
    const Flow flow = ExecuteOne(statement);
    if (raised_) return Flow::kStop;
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::ExecuteOne(const Statement& statement) {
  switch (statement.type) {
    case StatementType::kText:
      Write(statement.text);
      return Flow::kNext;
    case StatementType::kOutput: {
      const Value value = Evaluate(*statement.value);
      if (value.Is(Type::kString)) {
        Write(value.string());
      } else {
        Write(ToText(value, &budget_));
      }
      return Flow::kNext;
    }
    case StatementType::kIf:
      return ExecuteIf(statement);
    case StatementType::kFor:
      return ExecuteFor(statement);
    case StatementType::kSet:
      ExecuteSet(statement);
      return Flow::kNext;
    case StatementType::kSetBlock:
      return ExecuteSetBlock(statement);
    case StatementType::kMacro:
      macros_[statement.text] = &statement;
      return Flow::kNext;
    case StatementType::kGroup:
      return Execute(statement.body);
    case StatementType::kBreak:
      return Flow::kBreak;
    case StatementType::kContinue:
      break;
  }
  return Flow::kContinue;
}

Evaluator::Flow Evaluator::ExecuteIf(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    const bool holds = IsTrue(Evaluate(*branch.condition));
    if (raised_) return Flow::kStop;
    if (holds) return Execute(branch.body);
  }
  return Execute(statement.otherwise);
}

void Evaluator::BindTargets(const Statement& loop, const Value& item) {
  Scope& scope = scopes_.back();
  if (loop.names.size() == 1) {
    scope[loop.names[0]] = item;
    return;
  }
  const Call call(&budget_, loop.line, "for");
  if (!item.Is(Type::kList) || item.list().size() != loop.names.size()) {
    call.Fail(fmt::format("a list of {}", loop.names.size()), item);
  }
  for (size_t i = 0; i < loop.names.size(); ++i) scope[loop.names[i]] = item.list()[i];
}

List Evaluator::FilterItems(const Statement& loop, List items) {
  if (!loop.condition) return items;
  List kept;
  for (const Value& item : items) {
    scopes_.emplace_back();
    BindTargets(loop, item);
    if (IsTrue(Evaluate(*loop.condition))) kept.push_back(item);
    scopes_.pop_back();
  }
  return kept;
}

Value Evaluator::LoopInfo(const List& items, size_t i) const {
  const auto n = static_cast<int64_t>(items.size()), at = static_cast<int64_t>(i);
  Dict loop = {{"index", Value::Int(at + 1)},    {"index0", Value::Int(at)},
               {"revindex", Value::Int(n - at)}, {"revindex0", Value::Int(n - at - 1)},
               {"first", Value::Bool(at == 0)},  {"last", Value::Bool(at + 1 == n)},
               {"length", Value::Int(n)}};
  if (i > 0) loop.emplace_back("previtem", items[i - 1]);
  if (i + 1 < items.size()) loop.emplace_back("nextitem", items[i + 1]);
  return Value::MakeDict(std::move(loop));
}

Evaluator::Flow Evaluator::ExecuteFor(const Statement& statement) {
  const Call call(&budget_, statement.line, "for");
  const List items = FilterItems(statement, call.Items(Evaluate(*statement.value)));
  if (raised_) return Flow::kStop;
  if (items.empty()) return Execute(statement.otherwise);
  for (size_t i = 0; i < items.size(); ++i) {
    scopes_.emplace_back();
    BindTargets(statement, items[i]);
    budget_.Steps(4);
    budget_.Bytes(512);  // about what the loop's own variables take
    scopes_.back()["loop"] = LoopInfo(items, i);
    const Flow flow = Execute(statement.body);
    scopes_.pop_back();
    if (flow == Flow::kStop) return flow;
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

void Evaluator::ExecuteSet(const Statement& statement) {
  const Value value = Evaluate(*statement.value);
  const Call call(&budget_, statement.line, "set");
  if (!statement.text.empty()) {
    const Value space = Look(statement.names[0]);
    if (!space.Is(Type::kNamespace)) {
      call.Fail(fmt::format("'{}' to be a namespace", statement.names[0]), space);
    }
    budget_.Bytes(sizeof(Value) + statement.text.size());
    space.space()->members[statement.text] = value;
    return;
  }
  budget_.Bytes(sizeof(Value) * statement.names.size());
  BindTargets(statement, value);
}

Evaluator::Flow Evaluator::ExecuteSetBlock(const Statement& statement) {
  std::string text;
  Flow flow = Flow::kNext;
  {
    const Restore<std::string*> redirect(&out_, &text);
    flow = Execute(statement.body);
  }
  budget_.Bytes(sizeof(Value));
  scopes_.back()[statement.names[0]] = Value::String(std::move(text));
  return flow;
}

Value Evaluator::Look(std::string_view name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    budget_.Steps();
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return {};
}

Call Evaluator::At(const Expr& expr, std::string what) {
  return Call(&budget_, expr.line, std::move(what));
}

Value Evaluator::Evaluate(const Expr& expr) {
  const Restore<int> deeper(&depth_, depth_ + 1);
  if (depth_ > kMaxDepth) {
    At(expr, "").Refuse(
        fmt::format("expected evaluation at most {} deep, found deeper", kMaxDepth));
  }
  budget_.Steps();
  return EvaluateNode(expr);
}

Value Evaluator::EvaluateNode(const Expr& expr) {
  const auto& children = expr.children;
  switch (expr.type) {
    case ExprType::kLiteral:
      return expr.value;
    case ExprType::kName:
      return Look(expr.text);
    case ExprType::kList: {
      List items;
      for (const ExprPtr& child : children) items.push_back(Evaluate(*child));
      return At(expr, "list").NewList(std::move(items));
    }
    case ExprType::kDict:
      return EvaluateDict(expr);
    case ExprType::kAttribute:
      return EvaluateAttribute(expr);
    case ExprType::kIndex: {
      const Value object = Evaluate(*children[0]);
      return Index(object, Evaluate(*children[1]), At(expr, "[]"));
    }
    case ExprType::kSlice: {
      const Value object = Evaluate(*children[0]), begin = EvaluateOptional(children[1]);
      const Value end = EvaluateOptional(children[2]), step = EvaluateOptional(children[3]);
      return Slice(object, begin, end, step, At(expr, "[:]"));
    }
    case ExprType::kCall:
      return EvaluateCall(expr);
    case ExprType::kFilter:
    case ExprType::kTest: {
      const bool is_filter = expr.type == ExprType::kFilter;
      const Value input = Evaluate(*children[0]);
      Call call = At(expr, (is_filter ? "filter " : "test ") + expr.text);
      FillArguments(expr, &call);
      return is_filter ? CallFilter(expr.text, input, call)
                       : Value::Bool(CallTest(expr.text, input, call));
    }
    case ExprType::kNot:
      return Value::Bool(!IsTrue(Evaluate(*children[0])));
    case ExprType::kNegate: {
      const Value number = Evaluate(*children[0]);
      if (number.Is(Type::kFloat)) return Value::Float(-number.number());
      return Calculate("-", Value::Int(0), number, At(expr, "operator -"));
    }
    case ExprType::kAnd:
    case ExprType::kOr: {
      Value left = Evaluate(*children[0]);
      return IsTrue(left) == (expr.type == ExprType::kAnd) ? Evaluate(*children[1]) : left;
    }
    case ExprType::kBinary: {
      const Value left = Evaluate(*children[0]), right = Evaluate(*children[1]);
      return Calculate(expr.text, left, right, At(expr, "operator " + expr.text));
    }
    case ExprType::kCompare:
      return EvaluateCompare(expr);
    case ExprType::kTernary:
      break;
  }
  return EvaluateOptional(IsTrue(Evaluate(*children[0])) ? children[1] : children[2]);
}

Value Evaluator::EvaluateDict(const Expr& expr) {
  const Call call = At(expr, "mapping");
  Dict items;
  for (size_t i = 0; i < expr.children.size(); i += 2) {
    const Value key = Evaluate(*expr.children[i]);
    Value value = Evaluate(*expr.children[i + 1]);
    const std::string& name = call.String(key);
    budget_.Bytes(sizeof(Dict::value_type) + name.size());
    budget_.Work(16 * items.size());
    const auto same = std::find_if(items.begin(), items.end(),
                                   [&](const auto& item) { return item.first == name; });
    if (same != items.end()) {
      same->second = std::move(value);
    } else {
      items.emplace_back(name, std::move(value));
    }
  }
  return Value::MakeDict(std::move(items));
}

Value Evaluator::EvaluateAttribute(const Expr& expr) {
  const Value object = Evaluate(*expr.children[0]);
  const Call call = At(expr, "." + expr.text);
  // Jinja takes the method, not a member of its name: the member is object['name'].
  if (IsMethod(object, expr.text)) call.Refuse("a method that is not called is not supported");
  return object.Is(Type::kString) || object.Is(Type::kList)
             ? Value()
             : Index(object, Value::String(expr.text), call);
}

Value Evaluator::EvaluateCompare(const Expr& expr) {
  Value left = Evaluate(*expr.children[0]);
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = Evaluate(*expr.children[i + 1]);
    const std::string& op = expr.operators[i];
    if (!Compare(op, left, right, At(expr, "operator " + op))) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

void Evaluator::FillArguments(const Expr& expr, Call* call) {
  for (size_t i = 1; i < expr.children.size(); ++i) {
    call->values.push_back(Evaluate(*expr.children[i]));
  }
  for (const auto& [name, value] : expr.named) call->named.emplace_back(name, Evaluate(*value));
}

Value Evaluator::EvaluateCall(const Expr& expr) {
  const Expr& callee = *expr.children[0];
  if (callee.type == ExprType::kAttribute) {
    const Value object = Evaluate(*callee.children[0]);
    Call call = At(expr, "." + callee.text);
    FillArguments(expr, &call);
    return CallMethod(callee.text, object, call);
  }
  if (callee.type != ExprType::kName) At(expr, "").Refuse("a call of this kind is not supported");
  Call call = At(expr, "function " + callee.text);
  FillArguments(expr, &call);
  const auto macro = macros_.find(callee.text);
  if (macro != macros_.end()) return CallMacro(*macro->second, call);
  return CallFunction(callee.text, call);
}

Value Evaluator::CallFunction(std::string_view name, const Call& call) {
  if (name == "raise_exception") {
    const std::vector<Value> bound = call.Bind({"message"});
    if (!raised_) raised_ = ToText(bound[0], &budget_);
    return {};
  }
  if (name == "range") return MakeRange(call);
  if (name == "namespace") return MakeNamespace(call);
  if (name == "dict") {
    if (!call.values.empty()) call.Refuse("only named arguments are supported");
    Dict items;
    for (const auto& [key, value] : call.named) items.emplace_back(key, value);
    budget_.Bytes(sizeof(Dict::value_type) * items.size());
    return Value::MakeDict(std::move(items));
  }
  call.Refuse("is not supported");
}

Value Evaluator::MakeRange(const Call& call) {
  const std::vector<Value> bound = call.Bind({"start", "stop", "step"});
  const bool one = bound[1].Is(Type::kUndefined);
  const int64_t begin = one ? 0 : call.Whole(bound[0]), end = call.Whole(bound[one ? 0 : 1]);
  const int64_t step = call.WholeOr(bound[2], 1);
  if (step == 0) call.Refuse("expected a step, found 0");
  List items;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (items.size() == kMaxRange) {
      call.Refuse(fmt::format("expected at most {} items, found more", kMaxRange));
    }
    items.push_back(Value::Int(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return call.NewList(std::move(items));
}

Value Evaluator::MakeNamespace(const Call& call) {
  budget_.Bytes(sizeof(Namespace) + sizeof(Value) * 4 * call.named.size());
  Namespace& space = namespaces_.emplace_back();
  for (const Value& value : call.values) {
    if (!value.Is(Type::kDict)) call.Fail("a mapping", value);
    budget_.Bytes(sizeof(Dict::value_type) * 2 * value.dict().size());
    for (const auto& [key, item] : value.dict()) space.members[key] = item;
  }
  for (const auto& [name, value] : call.named) space.members[std::string(name)] = value;
  return Value::Of(&space);
}

Value Evaluator::CallMacro(const Statement& macro, const Call& call) {
  if (call.values.size() > macro.names.size()) {
    call.Refuse(fmt::format("expected at most {} arguments, found {}", macro.names.size(),
                            call.values.size()));
  }
  Scope arguments;
  const size_t first_default = macro.names.size() - macro.defaults.size();
  for (size_t i = 0; i < macro.names.size(); ++i) {
    if (i < call.values.size()) {
      arguments[macro.names[i]] = call.values[i];
    } else {
      arguments[macro.names[i]] =
          i >= first_default ? Evaluate(*macro.defaults[i - first_default]) : Value();
    }
  }
  for (const auto& [name, value] : call.named) {
    const auto argument = arguments.find(name);
    if (argument == arguments.end()) {
      call.Refuse(fmt::format("argument '{}' is not one of the macro's", name));
    }
    argument->second = value;
  }
  // The caller's loops and macros are out of sight; the template's own scope lends itself.
  std::vector<Scope> inner;
  inner.push_back(std::move(scopes_[0]));
  inner.push_back(std::move(arguments));
  scopes_.swap(inner);
  std::string text;
  {
    const Restore<std::string*> redirect(&out_, &text);
    Execute(macro.body);
  }
  scopes_.swap(inner);
  scopes_[0] = std::move(inner[0]);
  return call.NewString(std::move(text));
}

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// From loose to tight: if-else, or, and, not, comparisons, + -, ~, * / // %, unary, filters and
// tests, calls and subscripts. A test binds as tightly as a filter: "a ~ b is string" tests b.
#include "text/jinja/expr_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::jinja {
namespace {

constexpr std::string_view kBinaryLevels[3][4] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}};

std::string Describe(const Token& token) {
  switch (token.type) {
    case TokenType::kEnd:
      return "the template's end";
    case TokenType::kText:
      return "text";
    default:
      return fmt::format("'{}'", Printable(token.text, 40));
  }
}

std::optional<Value> FindConstant(std::string_view name) {
  if (name == "true" || name == "True") return Value::Bool(true);
  if (name == "false" || name == "False") return Value::Bool(false);
  if (name == "none" || name == "None") return Value::None();
  return std::nullopt;
}

/// Counts the recursion of the parser itself, which brackets drive.
class DepthScope {
 public:
  DepthScope(int* depth, int line) : depth_(depth) {
    if (++*depth_ > kMaxTreeDepth) {
      --*depth_;
      Throw(ErrorCode::kUnsupported,
            "chat template line {}: expected expressions at most {} deep, found a deeper one", line,
            kMaxTreeDepth);
    }
  }
  ~DepthScope() { --*depth_; }
  DepthScope(const DepthScope&) = delete;
  DepthScope& operator=(const DepthScope&) = delete;

 private:
  int* depth_;
};

}  // namespace

Token ExprParser::Take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

bool ExprParser::IsOperator(std::string_view text) const {
  return Peek().type == TokenType::kOperator && Peek().text == text;
}
bool ExprParser::IsWord(std::string_view name) const {
  return Peek().type == TokenType::kName && Peek().text == name;
}
bool ExprParser::TakeOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  Take();
  return true;
}
bool ExprParser::TakeWord(std::string_view name) {
  if (!IsWord(name)) return false;
  Take();
  return true;
}

void ExprParser::ExpectOperator(std::string_view text) {
  if (!TakeOperator(text)) Fail(fmt::format("'{}'", text));
}

std::string ExprParser::ExpectName(std::string_view what) {
  if (Peek().type != TokenType::kName) Fail(what);
  return Take().text;
}

void ExprParser::Fail(std::string_view expected) const {
  Throw(ErrorCode::kCorrupt, "chat template line {}: expected {}, found {}", Peek().line, expected,
        Describe(Peek()));
}

void ExprParser::Refuse(std::string_view construct) const {
  Throw(ErrorCode::kUnsupported, "chat template line {}: {} is not supported", Peek().line,
        construct);
}

ExprPtr ExprParser::Make(ExprType type, std::string text) const {
  auto expr = std::make_unique<Expr>();
  expr->type = type;
  expr->line = Peek().line;
  expr->text = std::move(text);
  return expr;
}

void ExprParser::Deepen(Expr* parent, const ExprPtr& child) const {
  if (!child) return;
  parent->depth = std::max(parent->depth, child->depth + 1);
  if (parent->depth > kMaxTreeDepth) {
    Throw(ErrorCode::kUnsupported,
          "chat template line {}: expected expressions at most {} deep, found a deeper one",
          parent->line, kMaxTreeDepth);
  }
}

void ExprParser::AddChild(Expr* parent, ExprPtr child) const {
  Deepen(parent, child);
  parent->children.push_back(std::move(child));
}

ExprPtr ExprParser::ParseTuple() {
  ExprPtr first = ParseExpr();
  if (!IsOperator(",")) return first;
  ExprPtr tuple = Make(ExprType::kList);
  AddChild(tuple.get(), std::move(first));
  while (TakeOperator(",")) {
    if (Peek().type == TokenType::kBlockEnd || Peek().type == TokenType::kOutputEnd) break;
    AddChild(tuple.get(), ParseExpr());
  }
  return tuple;
}

ExprPtr ExprParser::ParseExpr(Ternary ternary) {
  const DepthScope scope(&depth_, Peek().line);
  ExprPtr expr = ParseOr();
  while (ternary == Ternary::kYes && IsWord("if")) {
    ExprPtr choice = Make(ExprType::kTernary);
    Take();
    AddChild(choice.get(), ParseOr());
    AddChild(choice.get(), std::move(expr));
    AddChild(choice.get(), TakeWord("else") ? ParseExpr() : nullptr);
    expr = std::move(choice);
  }
  return expr;
}

ExprPtr ExprParser::ParseOr() {
  ExprPtr expr = ParseAnd();
  while (IsWord("or")) {
    ExprPtr either = Make(ExprType::kOr);
    Take();
    AddChild(either.get(), std::move(expr));
    AddChild(either.get(), ParseAnd());
    expr = std::move(either);
  }
  return expr;
}

ExprPtr ExprParser::ParseAnd() {
  ExprPtr expr = ParseNot();
  while (IsWord("and")) {
    ExprPtr both = Make(ExprType::kAnd);
    Take();
    AddChild(both.get(), std::move(expr));
    AddChild(both.get(), ParseNot());
    expr = std::move(both);
  }
  return expr;
}

ExprPtr ExprParser::ParseNot() {
  if (!IsWord("not")) return ParseCompare();
  const DepthScope scope(&depth_, Peek().line);
  ExprPtr expr = Make(ExprType::kNot);
  Take();
  AddChild(expr.get(), ParseNot());
  return expr;
}

bool ExprParser::TakeCompareOperator(std::string* name) {
  constexpr std::string_view kOperators[] = {"==", "!=", "<=", ">=", "<", ">"};
  for (const std::string_view text : kOperators) {
    if (!TakeOperator(text)) continue;
    *name = text;
    return true;
  }
  if (TakeWord("in")) {
    *name = "in";
    return true;
  }
  const bool is_not_in = IsWord("not") && at_ + 1 < tokens_.size() &&
                         tokens_[at_ + 1].type == TokenType::kName && tokens_[at_ + 1].text == "in";
  if (!is_not_in) return false;
  Take();
  Take();
  *name = "not in";
  return true;
}

ExprPtr ExprParser::ParseCompare() {
  ExprPtr expr = ParseBinary(0);
  ExprPtr chain = Make(ExprType::kCompare);
  for (std::string name; TakeCompareOperator(&name);) {
    if (chain->children.empty()) AddChild(chain.get(), std::move(expr));
    chain->operators.push_back(name);
    AddChild(chain.get(), ParseBinary(0));
  }
  return chain->children.empty() ? std::move(expr) : std::move(chain);
}

ExprPtr ExprParser::ParseBinary(int level) {
  if (level == 3) return ParseUnary(true);
  ExprPtr expr = ParseBinary(level + 1);
  while (Peek().type == TokenType::kOperator) {
    const auto& operators = kBinaryLevels[level];
    if (IsOperator("**")) Refuse("operator **");
    if (std::find(std::begin(operators), std::end(operators), Peek().text) == std::end(operators)) {
      break;
    }
    ExprPtr sum = Make(ExprType::kBinary, Peek().text);
    Take();
    AddChild(sum.get(), std::move(expr));
    AddChild(sum.get(), ParseBinary(level + 1));
    expr = std::move(sum);
  }
  return expr;
}

ExprPtr ExprParser::ParseUnary(bool with_filters) {
  ExprPtr expr;
  if (IsOperator("-") || IsOperator("+")) {
    const DepthScope scope(&depth_, Peek().line);
    expr = Make(ExprType::kNegate);
    if (Take().text == "-") {
      AddChild(expr.get(), ParseUnary(false));
    } else {
      expr = ParseUnary(false);
    }
  } else {
    expr = ParsePostfix(ParsePrimary());
  }
  return with_filters ? ParseFilters(std::move(expr)) : std::move(expr);
}

ExprPtr ExprParser::ParsePrimary() {
  ExprPtr expr = Make(ExprType::kLiteral);
  const Token& token = Peek();
  switch (token.type) {
    case TokenType::kName: {
      std::string name = Take().text;
      if (const std::optional<Value> constant = FindConstant(name)) {
        expr->value = *constant;
      } else {
        expr->type = ExprType::kName;
        expr->text = std::move(name);
      }
      return expr;
    }
    case TokenType::kString: {
      std::string text;
      while (Peek().type == TokenType::kString) text += Take().text;  // 'a' 'b' is 'ab'
      expr->value = Value::String(std::move(text));
      return expr;
    }
    case TokenType::kInteger: {
      int64_t whole = 0;
      const std::string& digits = token.text;
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
      if (result.ec != std::errc()) Fail("an integer of 64 bits");
      expr->value = Value::Int(whole);
      Take();
      return expr;
    }
    case TokenType::kFloat: {
      double number = 0;
      const char* digits = token.text.data();
      if (std::from_chars(digits, digits + token.text.size(), number).ec != std::errc()) {
        Fail("a number that a double can hold");
      }
      expr->value = Value::Float(number);
      Take();
      return expr;
    }
    default:
      return ParseBracketed();
  }
}

ExprPtr ExprParser::ParseBracketed() {
  const DepthScope scope(&depth_, Peek().line);
  if (IsOperator("[")) {
    ExprPtr list = Make(ExprType::kList);
    Take();
    while (!TakeOperator("]")) {
      AddChild(list.get(), ParseExpr());
      if (!IsOperator("]")) ExpectOperator(",");
    }
    return list;
  }
  if (IsOperator("{")) {
    ExprPtr dict = Make(ExprType::kDict);
    Take();
    while (!TakeOperator("}")) {
      AddChild(dict.get(), ParseExpr());
      ExpectOperator(":");
      AddChild(dict.get(), ParseExpr());
      if (!IsOperator("}")) ExpectOperator(",");
    }
    return dict;
  }
  if (!TakeOperator("(")) Fail("an expression");
  ExprPtr tuple = Make(ExprType::kList);
  bool has_comma = false;
  while (!TakeOperator(")")) {
    AddChild(tuple.get(), ParseExpr());
    if (IsOperator(")")) continue;
    ExpectOperator(",");
    has_comma = true;
  }
  const bool is_grouping = !has_comma && tuple->children.size() == 1;
  return is_grouping ? std::move(tuple->children[0]) : std::move(tuple);
}

ExprPtr ExprParser::ParsePostfix(ExprPtr expr) {
  while (true) {
    if (TakeOperator(".")) {
      if (Peek().type == TokenType::kInteger) {  // list.0
        ExprPtr index = Make(ExprType::kIndex);
        AddChild(index.get(), std::move(expr));
        AddChild(index.get(), ParsePrimary());
        expr = std::move(index);
      } else {
        ExprPtr attribute = Make(ExprType::kAttribute, ExpectName("a name after '.'"));
        AddChild(attribute.get(), std::move(expr));
        expr = std::move(attribute);
      }
    } else if (IsOperator("[")) {
      expr = ParseSubscript(std::move(expr));
    } else if (IsOperator("(")) {
      ExprPtr call = Make(ExprType::kCall);
      AddChild(call.get(), std::move(expr));
      ParseArguments(call.get());
      expr = std::move(call);
    } else {
      return expr;
    }
  }
}

ExprPtr ExprParser::ParseSubscript(ExprPtr expr) {
  ExprPtr subscript = Make(ExprType::kIndex);
  ExpectOperator("[");
  AddChild(subscript.get(), std::move(expr));
  AddChild(subscript.get(), IsOperator(":") ? nullptr : ParseExpr());
  for (int part = 2; part < 4 && TakeOperator(":"); ++part) {
    subscript->type = ExprType::kSlice;
    const bool is_empty = IsOperator(":") || IsOperator("]");
    AddChild(subscript.get(), is_empty ? nullptr : ParseExpr());
  }
  if (subscript->type == ExprType::kSlice) subscript->children.resize(4);
  ExpectOperator("]");
  return subscript;
}

void ExprParser::ParseArguments(Expr* call) {
  ExpectOperator("(");
  while (!TakeOperator(")")) {
    if (IsOperator("*") || IsOperator("**")) Refuse("'*' before an argument");
    const bool is_named = Peek().type == TokenType::kName && at_ + 1 < tokens_.size() &&
                          tokens_[at_ + 1].type == TokenType::kOperator &&
                          tokens_[at_ + 1].text == "=";
    if (is_named) {
      std::string name = Take().text;
      Take();
      ExprPtr value = ParseExpr();
      Deepen(call, value);
      call->named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!call->named.empty()) Fail("a named argument after a named one");
      AddChild(call, ParseExpr());
    }
    if (!IsOperator(")")) ExpectOperator(",");
  }
}

ExprPtr ExprParser::ParseFilters(ExprPtr expr) {
  while (true) {
    if (TakeOperator("|")) {
      ExprPtr filter = Make(ExprType::kFilter, ExpectName("a filter's name"));
      AddChild(filter.get(), std::move(expr));
      if (IsOperator("(")) ParseArguments(filter.get());
      expr = std::move(filter);
    } else if (IsWord("is")) {
      expr = ParseTest(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExprParser::ParseTest(ExprPtr expr) {
  Take();
  ExprPtr negation = TakeWord("not") ? Make(ExprType::kNot) : nullptr;
  ExprPtr test = Make(ExprType::kTest, ExpectName("a test's name"));
  AddChild(test.get(), std::move(expr));
  // A single argument may come without brackets, but only these tests have one.
  constexpr std::string_view kWithArgument[] = {"divisibleby", "equalto", "eq", "ne", "in",
                                                "sameas",      "lt",      "gt", "le", "ge"};
  if (IsOperator("(")) {
    ParseArguments(test.get());
  } else if (std::find(std::begin(kWithArgument), std::end(kWithArgument), test->text) !=
             std::end(kWithArgument)) {
    AddChild(test.get(), ParseUnary(false));
  }
  if (!negation) return test;
  AddChild(negation.get(), std::move(test));
  return negation;
}

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// A parsed template. Made by the parser, walked by the evaluator; nothing here refers to the
// template's text, so a tree may outlive it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace mixtral::jinja {

/// Deeper trees are refused: they are destroyed and evaluated recursively.
inline constexpr int kMaxTreeDepth = 150;

enum class ExprType : uint8_t {
  kLiteral,    // value
  kName,       // text
  kList,       // children
  kDict,       // children: key, value, key, value, ...
  kAttribute,  // children[0] . text
  kIndex,      // children[0] [ children[1] ]
  kSlice,      // children[0] [ children[1] : children[2] : children[3] ], the latter may be null
  kCall,       // children[0] ( children[1]..., named )
  kFilter,     // children[0] | text ( children[1]..., named )
  kTest,       // children[0] is text ( children[1]... )
  kNot,        // children[0]
  kNegate,     // children[0]
  kAnd,        // children[0] and children[1]
  kOr,
  kBinary,   // children[0] text children[1], arithmetic
  kCompare,  // children[0] operators[0] children[1] operators[1] children[2] ...
  kTernary   // children[1] if children[0] else children[2], the latter may be null
};

struct Expr {
  ExprType type = ExprType::kLiteral;
  int line = 1;
  int depth = 1;
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expr>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> named;
  std::vector<std::string> operators;
};
using ExprPtr = std::unique_ptr<Expr>;

enum class StatementType : uint8_t {
  kText,      // text
  kOutput,    // value
  kIf,        // branches, body: else
  kFor,       // names in value, condition may be null; body, otherwise: else
  kSet,       // names = value, or names[0] . text = value when text isn't empty
  kSetBlock,  // names[0] = what body writes
  kMacro,     // text ( names, defaults ): body
  kGroup,     // body alone
  kBreak,
  kContinue
};

struct Statement;
using Block = std::vector<Statement>;

struct Branch;

struct Statement {
  StatementType type = StatementType::kText;
  int line = 1;
  std::string text;
  std::vector<std::string> names;
  ExprPtr value, condition;
  std::vector<ExprPtr> defaults;  // of the last names
  std::vector<Branch> branches;
  Block body, otherwise;
};

struct Branch {
  ExprPtr condition;
  Block body;
};

}  // namespace mixtral::jinja

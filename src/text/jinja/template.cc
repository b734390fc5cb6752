// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/template.h"

#include "base/error.h"
#include "base/strings.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"

namespace mixtral::jinja {

struct Template::Impl {
  Block root;
};

Template::Template(std::string_view source) : impl_(new Impl{Parse(source)}) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Output Template::TryRender(const Globals& globals) const {
  return Evaluator(globals).Run(impl_->root);
}

std::string Template::Render(const Globals& globals) const {
  Output output = TryRender(globals);
  if (output.raised) {
    Throw(ErrorCode::kInvalidArgument, "chat template: {}", Printable(*output.raised, 200));
  }
  return std::move(output.text);
}

}  // namespace mixtral::jinja

// SPDX-License-Identifier: Apache-2.0
// Which kernel runs: the whole policy. Every ISA's Install overwrites the slots that it implements,
// in ascending order; the environment variable MIXTRAL_ISA caps the order.
#include <cstdlib>

#include "kernels/avx2/install.h"
#include "kernels/kernel_table.h"
#include "kernels/scalar/install.h"

namespace mixtral::kernels {
namespace {

struct IsaEntry {
  Isa isa;
  void (*install)(KernelTable&);
};
constexpr IsaEntry kIsas[] = {
    // ascending
    {Isa::kScalar, &scalar::Install},
    {Isa::kAvx2, &avx2::Install},
};

struct Choice {
  Isa isa = Isa::kScalar;
  const char* problem = nullptr;
  KernelTable table;
};

Choice Choose() {
  Choice choice;
  choice.isa = HostIsa();
  if (const char* wanted = std::getenv("MIXTRAL_ISA"); wanted != nullptr && *wanted != '\0') {
    const std::optional<Isa> cap = IsaFromName(wanted);
    if (!cap) {
      choice.problem = "MIXTRAL_ISA: expected 'scalar' or 'avx2'";
    } else if (*cap > choice.isa) {
      choice.problem = "MIXTRAL_ISA: this processor does not run the kernels that it asks for";
    } else {
      choice.isa = *cap;
    }
  }
  choice.table = BuildTable(choice.isa);
  return choice;
}

const Choice& Active() {
  static const Choice choice = Choose();
  return choice;
}

}  // namespace

KernelTable BuildTable(Isa max) {
  KernelTable table;
  for (const IsaEntry& entry : kIsas) {
    if (entry.isa <= max) entry.install(table);
  }
  return table;
}

const KernelTable* ActiveKernels(const char** problem) {
  const Choice& choice = Active();
  if (choice.problem == nullptr) return &choice.table;
  if (problem != nullptr) *problem = choice.problem;
  return nullptr;
}

Isa ActiveIsa() { return Active().isa; }

}  // namespace mixtral::kernels

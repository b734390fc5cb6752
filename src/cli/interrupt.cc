// SPDX-License-Identifier: Apache-2.0
// A signal handler can only reach a process-wide object: this flag is the program's only one.
#include "cli/interrupt.h"

#include <csignal>

namespace mixtral::cli {
namespace {

std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void OnInterrupt(int /*signal*/) { g_interrupted.store(true); }

void SetHandler(void (*handler)(int), int flags) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptScope::InterruptScope() {
  g_interrupted.store(false);
  SetHandler(&OnInterrupt, SA_RESETHAND);
}

InterruptScope::~InterruptScope() { SetHandler(SIG_DFL, 0); }

const std::atomic<bool>* InterruptScope::flag() const { return &g_interrupted; }

}  // namespace mixtral::cli

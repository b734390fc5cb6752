// SPDX-License-Identifier: Apache-2.0
// What is asked of a trace everywhere.
#include "observatory/trace.h"

#include <algorithm>

namespace mixtral::observatory {

std::vector<std::string> DomainsOf(const Trace& trace) {
  std::vector<std::string> domains;
  for (const TraceSequence& sequence : trace.sequences)
    if (std::find(domains.begin(), domains.end(), sequence.domain) == domains.end())
      domains.push_back(sequence.domain);
  return domains;
}

int64_t TokensOf(const Trace& trace) {
  int64_t n = 0;
  for (const TraceSequence& sequence : trace.sequences) n += std::ssize(sequence.tokens);
  return n;
}

}  // namespace mixtral::observatory

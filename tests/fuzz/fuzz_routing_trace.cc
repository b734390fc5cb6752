// SPDX-License-Identifier: Apache-2.0
// A routing trace of any bytes, and the counting over what was accepted.
#include "fuzz/fuzz_support.h"
#include "observatory/statistics.h"
#include "observatory/trace_file.h"

namespace observatory = mixtral::observatory;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mixtral::fuzz::Accepts([&] {
    const observatory::Trace trace =
        observatory::ParseTrace(mixtral::fuzz::Bytes(data, size), "fuzz");
    const uint64_t cells =
        static_cast<uint64_t>(trace.info.n_layers) * static_cast<uint64_t>(trace.info.n_experts);
    if (cells > 4096) return;  // counts are sized by the header, as a model's would be
    const std::vector<observatory::DomainCounts> domains = observatory::CountDomains(trace);
    observatory::Total(trace.info, domains);
    if (trace.sequences.size() < 64) observatory::CompareTraces(trace, trace);
  });
  return 0;
}

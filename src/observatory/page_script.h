// SPDX-License-Identifier: Apache-2.0
// The parts of the routing page that do not depend on a trace. Used by routing_page.cc alone.
#pragma once

#include <string_view>

namespace mixtral::observatory {

extern const std::string_view kPageStyle;   // CSS beside that of every report
extern const std::string_view kPageBody;    // HTML: headings, and empty places for the figures
extern const std::string_view kPageScript;  // draws the figures from the JSON in the page

}  // namespace mixtral::observatory

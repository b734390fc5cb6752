// SPDX-License-Identifier: Apache-2.0
// The frame that every report shares: one HTML file without scripts and without other files,
// readable in light and in dark.
#pragma once

#include <string>
#include <string_view>

namespace mixtral::report {

/// Up to the heading and a line below it; the body is open. style: rules besides the common ones.
std::string PageHead(const std::string& title, const std::string& note,
                     std::string_view style = {});
/// A figure with its name, for <div class='figures'>. value is HTML.
std::string PageFigure(const std::string& value, std::string_view name);
std::string PageEnd();

}  // namespace mixtral::report

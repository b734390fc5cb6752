// SPDX-License-Identifier: Apache-2.0
// Asked anew at every call: a terminal may be resized at any time.
#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace mixtral::cli {
namespace {

constexpr int kDefaultColumns = 80;

std::string_view Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

bool TakesControlCodes(Stream stream) {
  const std::string_view terminal = Variable("TERM");
  return isatty(static_cast<int>(stream)) == 1 && !terminal.empty() && terminal != "dumb";
}

bool TakesColour(Stream stream) {
  return TakesControlCodes(stream) && Variable("NO_COLOR").empty();
}

int Columns(Stream stream) {
  winsize size = {};
  if (ioctl(static_cast<int>(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return kDefaultColumns;
  return size.ws_col;
}

std::string Coloured(Stream stream, Colour colour, std::string_view text) {
  if (!TakesColour(stream)) return std::string(text);
  const int code = static_cast<int>(colour);
  return fmt::format("\x1b[1{}m{}\x1b[0m", code > 1 ? fmt::format(";{}", code) : "", text);
}

}  // namespace mixtral::cli

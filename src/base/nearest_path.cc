// SPDX-License-Identifier: Apache-2.0
// Looks at one folder, and not at all of a huge one.
#include "base/nearest_path.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <vector>

#include "base/strings.h"

namespace mixtral {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxEntries = 4096;

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(folder.empty() ? fs::path(".") : folder, error);
  for (const fs::directory_iterator end; !error && it != end && names.size() < kMaxEntries;
       it.increment(error))
    names.push_back(it->path().filename().string());
  return names;
}

}  // namespace

std::string NearestPathHint(const std::string& path) {
  fs::path there;
  for (const fs::path& part : fs::path(path)) {
    std::error_code ignored;
    if (fs::exists(there / part, ignored)) {
      there /= part;
      continue;
    }
    const std::vector<std::string> names = NamesIn(there);
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    const std::string_view near = NearestName(part.string(), candidates);
    if (near.empty()) return "";
    return fmt::format("; did you mean '{}'?", Printable((there / near).string(), 400));
  }
  return "";
}

}  // namespace mixtral

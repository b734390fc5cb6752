// SPDX-License-Identifier: Apache-2.0
// The walk over /proc/self/cgroup and the folders of the groups that it names.
#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "base/strings.h"

namespace mixtral {
namespace {

int64_t Smaller(int64_t a, int64_t b) { return b > 0 && (a == 0 || b < a) ? b : a; }

int64_t SmallestOnTheWayUp(const std::string& root, std::string_view group,
                           const GroupLimit& limit) {
  int64_t smallest = 0;
  for (std::string path(group);; path.resize(path.find_last_of('/'))) {
    smallest = Smaller(smallest, limit(root + path));
    if (path.find('/') == std::string::npos) return smallest;
  }
}

}  // namespace

std::string ReadOrEmpty(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::optional<int64_t> PositiveNumber(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || value <= 0) return std::nullopt;
  return value;
}

int64_t SmallestGroupLimit(std::string_view membership, const std::string& mount,
                           std::string_view controller, const GroupLimit& v1,
                           const GroupLimit& v2) {
  int64_t smallest = 0;
  for (const std::string_view line : Split(membership, '\n')) {  // "4:cpu,cpuacct:/a/b", "0::/a/b"
    const auto fields = Split(line, ':');
    if (fields.size() < 3) continue;
    const std::string_view group = line.substr(fields[0].size() + fields[1].size() + 2);
    const auto controllers = Split(fields[1], ',');
    if (fields[1].empty())
      smallest = Smaller(smallest, SmallestOnTheWayUp(mount, group, v2));
    else if (std::find(controllers.begin(), controllers.end(), controller) != controllers.end())
      smallest =
          Smaller(smallest, SmallestOnTheWayUp(mount + "/" + std::string(fields[1]), group, v1));
  }
  return smallest;
}

}  // namespace mixtral

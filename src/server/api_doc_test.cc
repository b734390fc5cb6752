// SPDX-License-Identifier: Apache-2.0
// docs/api.md against the program: every endpoint with its method and access, every shared field.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "server/server.h"

namespace mixtral::server {
namespace {

std::string Document() {
  std::ifstream file(MIXTRAL_SOURCE_DIR "/docs/api.md");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The rows "| ..." between a heading and the next.
std::vector<std::string> Rows(const std::string& heading) {
  const std::string document = Document();
  const size_t begin = document.find("\n" + heading + "\n");
  const size_t end = document.find("\n## ", begin + 1);
  std::vector<std::string> rows;
  for (size_t at = begin; at < end && at != std::string::npos;) {
    const size_t line_end = document.find('\n', at + 1);
    const std::string line = document.substr(at + 1, line_end - at - 1);
    if (line.starts_with("| ") && line.find('`') != std::string::npos) rows.push_back(line);
    at = line_end;
  }
  return rows;
}

TEST(ApiDocument, ListsEveryEndpoint) {
  std::set<std::string> expected;
  for (const Route& route : Endpoints())
    expected.insert(std::string(route.method) + " " + std::string(route.path) +
                    (route.access == Access::kKey ? " yes" : " no"));
  std::set<std::string> found;
  for (const std::string& row : Rows("## Endpoints")) {
    const std::string method = row.substr(2, row.find(' ', 2) - 2);
    const size_t path = row.find('`') + 1;
    const bool needs_key = row.ends_with("| yes |");
    found.insert(method + " " + row.substr(path, row.find('`', path) - path) +
                 (needs_key ? " yes" : " no"));
  }
  EXPECT_EQ(found, expected);
}

TEST(ApiDocument, ListsEveryField) {
  std::set<std::string> expected;
  for (const std::string_view field : GenerationFields()) expected.emplace(field);
  std::set<std::string> found;
  for (const std::string& row : Rows("## Fields of generating endpoints")) {
    const size_t cell_end = row.find('|', 2);
    for (size_t at = row.find('`'); at < cell_end; at = row.find('`', at)) {
      const size_t end = row.find('`', at + 1);
      found.insert(row.substr(at + 1, end - at - 1));
      at = end + 1;
    }
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace mixtral::server

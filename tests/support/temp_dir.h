// SPDX-License-Identifier: Apache-2.0
// A folder for one test's files, removed with everything in it at the end of the scope.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/check.h"

namespace mixtral::testing {

class TempDir {
 public:
  TempDir() : path_((std::filesystem::temp_directory_path() / "mixtral-test-XXXXXX").string()) {
    Check(mkdtemp(path_.data()) != nullptr, "cannot make a temporary folder");
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace mixtral::testing

// SPDX-License-Identifier: Apache-2.0
// The state of a preparation on disk: FOLDER/work holds the plan and the batches that are done;
// FOLDER/shards.json says that everything is. Used by Prepare alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/batch_file.h"
#include "data/prepare.h"

namespace mixtral::data {

class WorkFolder {
 public:
  explicit WorkFolder(std::string folder) : folder_(std::move(folder)), work_(folder_ + "/work") {}

  enum class State : uint8_t { kReady, kFinished };
  /// Makes the folders or goes on with what is there. Throws Error{kInvalidArgument} when that
  /// belongs to another plan or is not ours.
  State Begin(const Json& plan, Restart restart);

  bool HasBatch(uint64_t batch) const;
  void WriteBatch(uint64_t batch, const std::vector<BatchRow>& rows) const;
  std::vector<BatchRow> ReadBatch(uint64_t batch) const;

  /// Puts a file of this name and content into the output folder.
  void Publish(const std::string& name, std::string_view content) const;
  void Remove() const;  // the work folder, when all is done

  const std::string& folder() const { return folder_; }
  const std::string& work() const { return work_; }

 private:
  bool IsFinishedWith(const std::string& plan_sha256) const;
  void Clear() const;
  std::string BatchPath(uint64_t batch) const;

  std::string folder_, work_;
};

}  // namespace mixtral::data

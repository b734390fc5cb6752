// SPDX-License-Identifier: Apache-2.0
// Input files -> a folder of token shards. Rows are read in order, tokenised by any number of
// threads in batches that the work folder keeps, then filtered and written in order: the result is
// the same for any number of threads and interruptions. Called by `mixtral data`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/document.h"
#include "data/overlap_filter.h"
#include "data/shard_set.h"

namespace mixtral::data {

enum class Strict : uint8_t { kNo, kYes };
enum class Restart : uint8_t { kNo, kYes };

struct PrepareOptions {
  std::vector<InputFile> inputs;
  ShardSet set;                 // kind, vocabulary, tokenizer, chat format; no shards
  std::string tokenizer_bytes;  // becomes the file set.tokenizer_file
  RowEncoder encode;
  std::string encoder_name;  // says what encode does: part of the plan
  std::string folder;        // of the result; made when missing
  int n_workers = 1;
  double heldout = 0.01;        // part of the documents, in [0, 1]
  double near_threshold = 0.8;  // similarity of near duplicates; 0: only equal texts are dropped
  const OverlapFilter* exclude = nullptr;
  uint64_t max_shard_tokens = uint64_t{1} << 28;
  uint64_t batch_bytes = uint64_t{4} << 20;
  Strict strict = Strict::kNo;
  Restart restart = Restart::kNo;
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};
  std::function<void(std::string_view line)> on_bad_row = {};  // "FILE:LINE: why", in order
  const std::atomic<bool>* cancelled = nullptr;
};

enum class PrepareOutcome : uint8_t { kDone, kWasDone, kCancelled };

/// Throws Error{kInvalidArgument} for a folder that holds something else (or another plan, unless
/// restart), no inputs, or no usable row; for the first wrong row when strict; and what the readers
/// and the encoder's tokenizer throw. A cancelled, failed or killed call goes on where it was when
/// it is made again.
PrepareOutcome Prepare(const PrepareOptions& options);

/// prepare.json of a finished folder: the plan, counts for each domain, wrong rows.
Json ReadPrepareReport(const std::string& folder);

}  // namespace mixtral::data

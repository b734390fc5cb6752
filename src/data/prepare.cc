// SPDX-License-Identifier: Apache-2.0
// Two passes: Tokenise (parallel, batch files) and WriteShards (in order: duplicates are dropped in
// favour of the first). Where a batch ends is decided by the raw bytes of rows alone, so a restart
// knows which batches it has without parsing them.
#include "data/prepare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "data/batch_team.h"
#include "data/shard_writer.h"
#include "data/words.h"
#include "data/work_folder.h"

namespace mixtral::data {
namespace {

constexpr int kPlanVersion = 1;  // of batches and rules: another one's work cannot be continued
constexpr size_t kMaxReportedRows = 1000;

struct DomainCounts {
  uint64_t n_rows = 0, n_bad = 0, n_empty = 0, n_overlaps = 0, n_equal = 0, n_near = 0;
  uint64_t text_bytes = 0;                                  // of what was kept
  std::array<uint64_t, 2> n_documents = {}, n_tokens = {};  // by Split
};

std::vector<std::string> Domains(const std::vector<InputFile>& inputs) {
  std::vector<std::string> domains;
  for (const InputFile& file : inputs)
    if (std::find(domains.begin(), domains.end(), file.domain) == domains.end())
      domains.push_back(file.domain);
  return domains;
}

std::string Place(const InputFile& file, uint64_t line) {
  return line == 0 ? file.path : fmt::format("{}:{}", file.path, line);
}

Json DescribeOptions(const PrepareOptions& options) {
  return Json::Object()
      .Set("plan_version", kPlanVersion)
      .Set("shards", options.set.ToJson())
      .Set("encoder", options.encoder_name)
      .Set("heldout", options.heldout)
      .Set("near_threshold", options.near_threshold)
      .Set("exclude_13_grams", options.exclude == nullptr
                                   ? std::string("none")
                                   : fmt::format("{:016x}", options.exclude->Fingerprint()))
      .Set("max_shard_tokens", options.max_shard_tokens)
      .Set("batch_bytes", options.batch_bytes);
}

/// The options and every input with its size and time: what must be equal to go on.
Json MakePlan(const PrepareOptions& options) {
  Json inputs = Json::Array();
  for (const InputFile& file : options.inputs)
    inputs.Push(Json::Object()
                    .Set("path", file.path)
                    .Set("domain", file.domain)
                    .Set("bytes", file.n_bytes)
                    .Set("modified_ns", file.modified_ns));
  return Json::Object().Set("options", DescribeOptions(options)).Set("inputs", std::move(inputs));
}

std::array<uint64_t, 2> Identity(std::string_view text) {
  Sha256 hash;
  hash.Update(text);
  const Sha256Digest digest = hash.Finish();
  std::array<uint64_t, 2> identity;
  std::memcpy(identity.data(), digest.data(), sizeof identity);
  return identity;
}

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options)
      : options_(options), work_(options.folder), domains_(Domains(options.inputs)) {
    for (const InputFile& file : options.inputs) total_bytes_ += file.n_bytes;
  }

  PrepareOutcome Run() {
    if (options_.inputs.empty()) Throw(ErrorCode::kInvalidArgument, "data: expected input files");
    const Json plan = MakePlan(options_);
    if (work_.Begin(plan, options_.restart) == WorkFolder::State::kFinished) {
      work_.Remove();
      return PrepareOutcome::kWasDone;
    }
    const auto n_batches = Tokenise();
    if (!n_batches) return PrepareOutcome::kCancelled;
    return WriteShards(*n_batches, plan) ? PrepareOutcome::kDone : PrepareOutcome::kCancelled;
  }

 private:
  bool IsCancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }

  void Report(uint64_t done_bytes) const {
    if (options_.on_progress)
      options_.on_progress(std::min(done_bytes, total_bytes_), total_bytes_);
  }

  /// Returns the number of batches.
  std::optional<uint64_t> Tokenise() {
    BatchTeam team(options_.n_workers, [this](const RawBatch& raw) { EncodeBatch(raw); });
    RowReader reader(&options_.inputs);
    RawBatch batch;
    uint64_t n_bytes = 0, n_batches = 0;
    const auto push = [&] {
      batch.batch_idx = n_batches++;
      if (!work_.HasBatch(batch.batch_idx)) team.Push(std::move(batch));
      batch = {};
      n_bytes = 0;
    };
    while (auto row = reader.Next()) {
      n_bytes += row->bytes.size();
      batch.rows.push_back(std::move(*row));
      if (n_bytes < options_.batch_bytes) continue;
      push();
      Report(reader.n_file_bytes());
      if (IsCancelled()) return std::nullopt;
    }
    if (!batch.rows.empty()) push();
    team.Finish();
    Report(total_bytes_);
    return n_batches;
  }

  void EncodeBatch(const RawBatch& raw) const {
    std::vector<BatchRow> rows;
    rows.reserve(raw.rows.size());
    for (const RawRow& row : raw.rows) rows.push_back(EncodeRow(row));
    work_.WriteBatch(raw.batch_idx, rows);
  }

  BatchRow EncodeRow(const RawRow& raw) const {
    const InputFile& file = options_.inputs[raw.file_idx];
    BatchRow row = {.file_idx = raw.file_idx, .line = raw.line};
    try {
      if (!raw.problem.empty()) Throw(ErrorCode::kInvalidArgument, "{}", raw.problem);
      EncodedRow encoded = options_.encode(raw, file.kind);
      Fill(std::move(encoded), &row);
    } catch (const Error& error) {
      if (options_.strict == Strict::kYes)
        throw Error(error.code(), Place(file, raw.line) + ": " + error.what());
      row.state = RowState::kBad;
      row.problem = error.what();
    }
    return row;
  }

  void Fill(EncodedRow encoded, BatchRow* row) const {
    if (encoded.documents.empty()) {
      row->state = RowState::kEmpty;
      return;
    }
    const std::vector<uint64_t> words = WordHashes(encoded.text);
    if (options_.exclude != nullptr && options_.exclude->Overlaps(words)) {
      row->state = RowState::kOverlap;
      return;
    }
    row->text_bytes = encoded.text.size();
    row->identity = Identity(encoded.text);
    if (options_.near_threshold > 0) row->signature = MakeSignature(words);
    // The first 53 bits of the key's hash as a number in [0, 1).
    const double place = std::ldexp(static_cast<double>(Identity(encoded.split_key)[0] >> 11), -53);
    row->split = place < options_.heldout ? Split::kHeldout : Split::kTrain;
    row->documents = std::move(encoded.documents);
  }

  bool WriteShards(uint64_t n_batches, const Json& plan) {
    ShardWriter writer(options_.set, work_.work(), work_.folder(), options_.max_shard_tokens);
    NearDuplicateIndex index(options_.near_threshold);
    std::set<std::array<uint64_t, 2>> seen;
    for (uint64_t batch = 0; batch < n_batches; ++batch) {
      for (const BatchRow& row : work_.ReadBatch(batch)) {
        DomainCounts& counts = counts_[options_.inputs[row.file_idx].domain];
        ++counts.n_rows;
        if (!IsKept(row, &counts, &index, &seen)) continue;
        counts.text_bytes += row.text_bytes;
        const auto split = static_cast<size_t>(row.split);
        counts.n_documents[split] += row.documents.size();
        for (const Document& document : row.documents)
          counts.n_tokens[split] += document.tokens.size();
        writer.Add(options_.inputs[row.file_idx].domain, row.split, row.documents);
      }
      Report(total_bytes_);
      if (IsCancelled()) return false;
    }
    const ShardSet set = writer.Finish(domains_);
    if (set.shards.empty())
      Throw(ErrorCode::kInvalidArgument, "data: no usable row in {} input files{}",
            options_.inputs.size(),
            first_problem_.empty() ? "" : "; the first wrong one: " + first_problem_);
    work_.Publish(options_.set.tokenizer_file, options_.tokenizer_bytes);
    work_.Publish("prepare.json", MakeReport(plan).Dump(1) + "\n");
    work_.Publish("shards.json", set.ToJson().Dump(1) + "\n");
    work_.Remove();
    return true;
  }

  bool IsKept(const BatchRow& row, DomainCounts* counts, NearDuplicateIndex* index,
              std::set<std::array<uint64_t, 2>>* seen) {
    switch (row.state) {
      case RowState::kBad:
        AddBadRow(row);
        ++counts->n_bad;
        return false;
      case RowState::kEmpty:
        ++counts->n_empty;
        return false;
      case RowState::kOverlap:
        ++counts->n_overlaps;
        return false;
      case RowState::kUsable:
        break;
    }
    if (!seen->insert(row.identity).second) {
      ++counts->n_equal;
      return false;
    }
    if (options_.near_threshold > 0 && index->ContainsOrAdd(row.signature)) {
      ++counts->n_near;
      return false;
    }
    return true;
  }

  void AddBadRow(const BatchRow& row) {
    const InputFile& file = options_.inputs[row.file_idx];
    const std::string line = Place(file, row.line) + ": " + row.problem;
    if (options_.strict == Strict::kYes) throw Error(ErrorCode::kCorrupt, line);
    if (first_problem_.empty()) first_problem_ = line;
    if (options_.on_bad_row) options_.on_bad_row(line);
    if (bad_rows_.Size() == kMaxReportedRows) return;
    bad_rows_.Push(
        Json::Object().Set("file", file.path).Set("line", row.line).Set("problem", row.problem));
  }

  Json MakeReport(const Json& plan) const {
    Json domains = Json::Object();
    for (const std::string& name : domains_) {
      const auto it = counts_.find(name);
      const DomainCounts counts = it == counts_.end() ? DomainCounts{} : it->second;
      domains.Set(name, Json::Object()
                            .Set("rows", counts.n_rows)
                            .Set("wrong", counts.n_bad)
                            .Set("empty", counts.n_empty)
                            .Set("excluded", counts.n_overlaps)
                            .Set("equal", counts.n_equal)
                            .Set("near_duplicates", counts.n_near)
                            .Set("text_bytes", counts.text_bytes)
                            .Set("train_documents", counts.n_documents[0])
                            .Set("train_tokens", counts.n_tokens[0])
                            .Set("heldout_documents", counts.n_documents[1])
                            .Set("heldout_tokens", counts.n_tokens[1]));
    }
    return Json::Object()
        .Set("plan_sha256", Sha256Hex(plan.Dump(1)))
        .Set("options", DescribeOptions(options_))
        .Set("input_files", static_cast<uint64_t>(options_.inputs.size()))
        .Set("domains", std::move(domains))
        .Set("wrong_rows", bad_rows_);
  }

  const PrepareOptions& options_;
  WorkFolder work_;
  std::vector<std::string> domains_;
  uint64_t total_bytes_ = 0;
  std::map<std::string, DomainCounts> counts_;
  Json bad_rows_ = Json::Array();  // the first kMaxReportedRows
  std::string first_problem_;
};

}  // namespace

PrepareOutcome Prepare(const PrepareOptions& options) { return Preparation(options).Run(); }

Json ReadPrepareReport(const std::string& folder) {
  const std::string path = folder + "/prepare.json";
  return Json::Parse(ReadTextFile(path), path);
}

}  // namespace mixtral::data

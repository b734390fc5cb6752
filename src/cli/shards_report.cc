// SPDX-License-Identifier: Apache-2.0
// The JSON object is the source of the table, so both say the same.
#include "cli/shards_report.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "base/strings.h"
#include "cli/output.h"
#include "data/prepare.h"
#include "data/shard_set.h"
#include "report/text_table.h"

namespace mixtral::cli {
namespace {

using data::Split;

struct Counts {
  uint64_t n_documents = 0, n_tokens = 0, n_loss_tokens = 0;

  void Add(const data::ShardInfo& shard) {
    n_documents += shard.n_documents;
    n_tokens += shard.n_tokens;
    n_loss_tokens += shard.n_loss_tokens;
  }
  Json ToJson(bool has_mask) const {
    Json json = Json::Object();
    json.Set("documents", n_documents).Set("tokens", n_tokens);
    if (has_mask) json.Set("loss_tokens", n_loss_tokens);
    return json;
  }
};

std::string Grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string Count(const Json& object, std::string_view key) {
  return Grouped(static_cast<uint64_t>(object.At(key).AsInt()));
}

std::vector<std::string> DomainRow(const Json& domain, bool has_mask) {
  std::vector<std::string> row = {domain.At("domain").AsString()};
  for (const char* split : {"train", "heldout"}) {
    const Json counts = domain.At(split);
    row.push_back(Count(counts, "documents"));
    row.push_back(Count(counts, "tokens"));
    if (has_mask) row.push_back(Count(counts, "loss_tokens"));
  }
  row.push_back(fmt::format("{:.1f} %", 100 * domain.At("share").AsDouble()));
  const auto rows = domain.Find("rows");
  for (const char* key : {"rows", "wrong", "empty", "excluded", "equal", "near_duplicates"})
    row.push_back(rows ? Count(domain, key) : "-");
  const auto bytes = domain.Find("text_bytes");
  const int64_t n_tokens =
      domain.At("train").At("tokens").AsInt() + domain.At("heldout").At("tokens").AsInt();
  row.push_back(bytes && n_tokens > 0
                    ? fmt::format("{:.2f}", bytes->AsDouble() / static_cast<double>(n_tokens))
                    : "-");
  return row;
}

}  // namespace

Json MakeShardsReport(const std::string& folder) {
  const data::ShardSet set = data::ReadShardSet(folder);
  std::vector<std::string> order;
  std::map<std::string, std::array<Counts, 2>> domains;
  std::array<Counts, 2> total;
  for (const data::ShardInfo& shard : set.shards) {
    if (domains.find(shard.domain) == domains.end()) order.push_back(shard.domain);
    domains[shard.domain][static_cast<size_t>(shard.split)].Add(shard);
    total[static_cast<size_t>(shard.split)].Add(shard);
  }
  std::optional<Json> prepared;
  std::error_code ignored;
  if (std::filesystem::exists(folder + "/prepare.json", ignored))
    prepared = data::ReadPrepareReport(folder);
  Json list = Json::Array();
  for (const std::string& name : order) {
    const auto& counts = domains[name];
    Json domain = Json::Object();
    domain.Set("domain", name)
        .Set("train", counts[0].ToJson(set.HasMask()))
        .Set("heldout", counts[1].ToJson(set.HasMask()))
        .Set("share", total[0].n_tokens == 0 ? 0.0
                                             : static_cast<double>(counts[0].n_tokens) /
                                                   static_cast<double>(total[0].n_tokens));
    if (prepared)
      if (const auto rows = prepared->At("domains").Find(name))
        for (const char* key :
             {"rows", "wrong", "empty", "excluded", "equal", "near_duplicates", "text_bytes"})
          domain.Set(key, rows->At(key));
    list.Push(std::move(domain));
  }
  Json report = Json::Object();
  report.Set("folder", folder)
      .Set("kind", data::ShardKindName(set.kind))
      .Set("vocab_size", set.vocab_size)
      .Set("token_dtype", set.TokenBytes() == 2 ? "u16" : "u32")
      .Set("tokenizer_sha256", set.tokenizer_sha256);
  if (set.HasMask()) report.Set("chat_format", set.chat_format);
  report.Set("shards", static_cast<uint64_t>(set.shards.size()))
      .Set("domains", std::move(list))
      .Set("total", Json::Object()
                        .Set("train", total[0].ToJson(set.HasMask()))
                        .Set("heldout", total[1].ToJson(set.HasMask())));
  if (prepared) report.Set("wrong_rows", prepared->At("wrong_rows"));
  return report;
}

std::string ShardsReportText(const Json& report) {
  const auto format = report.Find("chat_format");
  std::string text = fmt::format(
      "{}: {} shards of kind {}{}, {} tokens to train on, vocabulary {} ({})\n\n",
      report.At("folder").AsString(), report.At("shards").AsInt(), report.At("kind").AsString(),
      format ? " in " + format->AsString() : "", Count(report.At("total").At("train"), "tokens"),
      report.At("vocab_size").AsInt(), report.At("token_dtype").AsString());
  const bool has_mask = format.has_value();
  std::vector<std::string> head = {"domain"};
  for (const char* split : {"train", "held out"}) {
    head.push_back(std::string(split) + " docs");
    head.push_back("tokens");
    if (has_mask) head.emplace_back("with loss");
  }
  for (const char* name :
       {"share", "rows", "wrong", "empty", "excluded", "equal", "near", "B/token"})
    head.emplace_back(name);
  std::vector<std::vector<std::string>> rows = {head};
  const Json domains = report.At("domains");
  for (size_t i = 0; i < domains.Size(); ++i) rows.push_back(DomainRow(domains.At(i), has_mask));
  return text + report::TextTable(rows);
}

}  // namespace mixtral::cli

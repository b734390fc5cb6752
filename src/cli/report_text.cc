// SPDX-License-Identifier: Apache-2.0
// The report of model_report.cc as lines for people.
#include <fmt/format.h>

#include <map>

#include "base/strings.h"
#include "cli/model_report.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

std::string Row(std::string_view label, std::string_view value) {
  return fmt::format("{:<16}{}\n", label, value);
}

int64_t Int(const Json& object, std::string_view key) { return object.At(key).AsInt(); }

std::string Bytes(const Json& object, std::string_view key) {
  return HumanBytes(static_cast<uint64_t>(Int(object, key)));
}

std::string ShapeText(const Json& a) {
  std::string text =
      Row("layers", std::to_string(Int(a, "layers"))) + Row("dim", std::to_string(Int(a, "dim"))) +
      Row("heads", fmt::format("{}, {} for keys and values, {} wide", Int(a, "heads"),
                               Int(a, "kv_heads"), Int(a, "head_dim")));
  if (Int(a, "experts") > 0)
    text += Row("experts", fmt::format("{}, {} per token, hidden {}", Int(a, "experts"),
                                       Int(a, "experts_per_token"), Int(a, "ffn_dim")));
  else
    text += Row("ffn", fmt::format("dense, hidden {}", Int(a, "ffn_dim")));
  text +=
      Row("vocabulary", fmt::format("{}{}", Int(a, "vocab_size"),
                                    a.At("tied_embeddings").AsBool() ? ", tied embeddings" : ""));
  text += Row("context", std::to_string(Int(a, "context")));
  if (Int(a, "sliding_window") > 0) text += Row("window", std::to_string(Int(a, "sliding_window")));
  return text + Row("rope theta", fmt::format("{:g}", a.At("rope_theta").AsDouble())) +
         Row("norm eps", fmt::format("{:g}", a.At("norm_eps").AsDouble()));
}

std::string TypesText(const Json& types) {
  std::string text;
  for (const std::string& type : types.Keys())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", type, Bytes(types, type));
  return text;
}

std::string TokenizerText(const Json& report) {
  const auto tokenizer = report.Find("tokenizer");
  if (!tokenizer) return Row("tokenizer", "none: prompts as token ids only");
  const Json eos = tokenizer->At("eos");
  const Json format = report.At("chat_format");
  return Row("tokenizer", fmt::format("{}, {} pieces, BOS {}, EOS {}",
                                      tokenizer->At("kind").AsString(), Int(*tokenizer, "pieces"),
                                      Int(*tokenizer, "bos"), JoinNumbers(eos.AsIntArray(), " "))) +
         Row("chat format",
             fmt::format("{} ({})", format.At("name").AsString(), format.At("reason").AsString()));
}

/// What one slot name has on each instruction set: "  avx2    F32 fast, F32 exact, ...".
std::string VariantsText(const std::map<std::string, std::vector<std::string>>& by_isa) {
  std::string text;
  for (const auto& [isa, variants] : by_isa)
    text += variants.front().empty() ? fmt::format("    {}\n", isa)
                                     : fmt::format("    {:<8}{}\n", isa, Join(variants, ", "));
  return text;
}

/// Slots that are filled alike share their lines.
std::string KernelsText(const Json& kernels) {
  std::vector<std::string> order;
  std::map<std::string, std::map<std::string, std::vector<std::string>>> by_slot;
  const Json slots = kernels.At("slots");
  for (size_t i = 0; i < slots.Size(); ++i) {
    const Json slot = slots.At(i);
    const std::string name = slot.At("slot").AsString();
    if (!by_slot.contains(name)) order.push_back(name);
    by_slot[name][slot.At("isa").AsString()].push_back(slot.At("variant").AsString());
  }
  std::string text = Row("kernels", kernels.At("isa").AsString());
  std::string names, variants;
  for (size_t i = 0; i < order.size(); ++i) {
    names += (names.empty() ? "  " : ", ") + order[i];
    variants = VariantsText(by_slot[order[i]]);
    if (i + 1 < order.size() && VariantsText(by_slot[order[i + 1]]) == variants) continue;
    text += names + "\n" + variants;
    names.clear();
  }
  return text;
}

std::string TensorsText(const Json& tensors) {
  std::string text;
  for (size_t i = 0; i < tensors.Size(); ++i) {
    const Json tensor = tensors.At(i);
    text += fmt::format("{:<52} {:<5} [{}]  {} bytes\n", Printable(tensor.At("name").AsString()),
                        tensor.At("type").AsString(),
                        JoinNumbers(tensor.At("shape").AsIntArray(), ", "), Int(tensor, "bytes"));
  }
  return text;
}

std::string SpeedText(const Json& object) {
  const auto speed = object.Find("decode_tokens_per_s");
  return speed ? fmt::format("{:.3g} tokens/s", speed->AsDouble()) : "-";
}

std::string ContextText(const Json& context) {
  const Json kv = context.At("kv");
  std::string line = fmt::format("  {:<14}", context.At("positions").AsInt());
  for (const std::string& type : kv.Keys()) line += fmt::format("{:<12}", Bytes(kv, type));
  line += fmt::format("{:<11}{}", context.At("fits").AsString(), SpeedText(context));
  if (context.At("beyond_model").AsBool()) line += "  (beyond the model's context)";
  return line + "\n";
}

std::string MemoryText(const Json& memory) {
  std::string text =
      fmt::format("{:<16}{} of weights mapped from the file, about {} of scratch, and the cache\n",
                  "memory", Bytes(memory, "weights"), Bytes(memory, "scratch"));
  text += fmt::format("{:<16}{} available of {}{}\n", "this machine", Bytes(memory, "available"),
                      Bytes(memory, "total"),
                      memory.Find("group_left") ? fmt::format(", {} left in the control group",
                                                              Bytes(memory, "group_left"))
                                                : "");
  if (const auto read = memory.Find("read_gb_per_s"))
    text +=
        fmt::format("{:<16}{:.2f} GB/s, measured now with {} threads: decoding about {}\n",
                    "reading", read->AsDouble(), memory.At("threads").AsInt(), SpeedText(memory));
  const Json contexts = memory.At("contexts");
  text += fmt::format("  {:<14}", "positions");
  for (const std::string& type : contexts.At(0).At("kv").Keys())
    text += fmt::format("{:<12}", "cache " + type);
  text += fmt::format("{:<11}{}\n", "fits here", "decoding there (F16), about");
  for (size_t i = 0; i < contexts.Size(); ++i) text += ContextText(contexts.At(i));
  return text;
}

}  // namespace

std::string ReportText(const Json& report) {
  const Json bytes = report.At("bytes"), parameters = report.At("parameters");
  std::string text =
      Row("model", Printable(report.At("path").AsString(), 1000)) +
      Row("format", report.At("format").AsString()) +
      Row("parameters", fmt::format("{}, {} active per token",
                                    HumanCount(static_cast<uint64_t>(Int(parameters, "total"))),
                                    HumanCount(static_cast<uint64_t>(Int(parameters, "active"))))) +
      ShapeText(report.At("architecture")) + Row("file size", Bytes(bytes, "files")) +
      Row("weights",
          fmt::format("{}: {}", Bytes(bytes, "weights"), TypesText(bytes.At("by_type")))) +
      Row("read per token", Bytes(bytes, "read_per_token")) +
      Row("kv per token", fmt::format("{} (f16), {} (f32)", Bytes(bytes, "kv_per_token_f16"),
                                      Bytes(bytes, "kv_per_token_f32"))) +
      TokenizerText(report) + MemoryText(report.At("memory"));
  const Json notices = report.At("notices");
  for (size_t i = 0; i < notices.Size(); ++i) text += Row("note", notices.At(i).AsString());
  text += KernelsText(report.At("kernels"));
  if (const auto tensors = report.Find("tensors")) text += "\n" + TensorsText(*tensors);
  return text;
}

}  // namespace mixtral::cli

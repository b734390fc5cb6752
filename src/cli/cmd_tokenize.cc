// SPDX-License-Identifier: Apache-2.0
// mixtral tokenize: text -> ids, ids -> text, and batches of strings and conversations -> lists of
// ids, exactly as `run` and `chat` encode them.
#include <algorithm>

#include "base/strings.h"
#include "cli/common_flags.h"
#include "cli/output.h"
#include "cli/tokenizer_file.h"
#include "io/checkpoint.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral tokenize model.gguf 'Hello world' --pieces\n"
    "  mixtral tokenize tokenizer.model -f text.txt\n"
    "  mixtral tokenize model.gguf --decode 1,17,30\n"
    "  echo '[\"a text\", {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}]' > b.json\n"
    "  mixtral tokenize model.gguf --batch b.json";

struct TokenizeFlags {
  PathFlags path;
  std::string format;
  std::optional<std::string> text, file, batch, decode;
  bool pieces = false, bos = false, json = false;

  bool Parse(Arguments arguments) {
    CommandLine line("tokenize", "Text to token ids and back (no BOS unless asked for).",
                     kExamples);
    path.AddTo(line, "A model, a tokenizer.model, or a folder that holds one");
    line.Optional("TEXT", &text, "The text; after -- it may begin with -");
    line.Text("-f,--file", &file, "FILE", "Read the text from a file ('-': standard input)");
    line.Text(
        "--batch", &batch, "FILE",
        "JSON list of strings and of {\"messages\": [...], \"continue_final_message\": bool}; "
        "prints a JSON list of id lists");
    line.Text("--decode", &decode, "IDS", "The other way: print the text of ids such as 1,17,30");
    AddChatFormat(line, &format);
    line.Flag("--bos", &bos, "Begin with BOS, as run does");
    line.Flag("--pieces", &pieces, "A line for each token: id and piece");
    line.Flag("--json", &json, "Print one JSON object");
    if (!line.Parse(arguments)) return false;
    const int given = text.has_value() + file.has_value() + batch.has_value() + decode.has_value();
    if (given > 1)
      ThrowUsage("tokenize: expected one of TEXT, --file, --batch and --decode, found {}", given);
    if (given == 0 && StdinIsTerminal())
      ThrowUsage("tokenize: no text: expected TEXT, -f FILE, or text on standard input");
    return true;
  }
};

Json IdsToJson(const std::vector<TokenId>& ids) {
  Json array = Json::Array();
  for (const TokenId id : ids) array.Push(id);
  return array;
}

void RefuseUnknownKeys(const Json& object, std::span<const std::string_view> known) {
  for (const std::string& key : object.Keys())
    if (std::find(known.begin(), known.end(), key) == known.end())
      Throw(ErrorCode::kCorrupt, "{}: expected the keys {}, found '{}'", object.path(),
            JoinNames(known, ", "), Printable(key));
}

std::vector<TokenId> RenderConversation(const Json& item, const ChatTemplate& chat_template) {
  constexpr std::string_view kItemKeys[] = {"messages", "continue_final_message"};
  constexpr std::string_view kMessageKeys[] = {"role", "content"};
  RefuseUnknownKeys(item, kItemKeys);
  const Json list = item.At("messages");
  std::vector<Message> messages;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json message = list.At(i);
    RefuseUnknownKeys(message, kMessageKeys);
    messages.push_back({message.At("role").AsString(), message.At("content").AsString()});
  }
  RenderOptions options;
  if (const auto value = item.Find("continue_final_message"))
    options.continue_final_message = value->AsBool();
  return WithContext(item.path(), [&] { return chat_template.Render(messages, options); });
}

void PrintBatch(const std::string& path, const Tokenizer& tokenizer, const std::string& model,
                const std::string& format) {
  const Json list = Json::Parse(ReadInput(path), path);
  if (!list.IsArray())
    Throw(ErrorCode::kCorrupt, "batch: expected a list of strings and conversations, in {}", path);
  std::optional<ChatTemplate> chat_template;  // made when a conversation needs it
  Json out = Json::Array();
  WithContext(path, [&] {
    for (size_t i = 0; i < list.Size(); ++i) {
      const Json item = list.At(i);
      if (item.IsString()) {
        out.Push(IdsToJson(tokenizer.Encode(item.AsString(), AddBos::kNo)));
        continue;
      }
      if (!item.IsObject())
        Throw(ErrorCode::kCorrupt, "{}: expected a string or an object with messages, found {}",
              item.path(), Printable(item.Dump(), 40));
      if (!chat_template)
        chat_template.emplace(MakeChatTemplate(
            format, tokenizer, model, [&] { return OpenCheckpoint(model)->chat_template(); }));
      out.Push(IdsToJson(RenderConversation(item, *chat_template)));
    }
  });
  WriteOut(out.Dump() + "\n");
}

void PrintDecoded(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const std::vector<TokenId> ids = ParseTokenIds(*flags.decode, "--decode");
  for (const TokenId id : ids)
    if (!tokenizer.IsValid(id))
      ThrowUsage("--decode: expected token ids in 0..{}, found {}", tokenizer.vocab_size() - 1, id);
  const std::string text = tokenizer.Decode(ids);
  if (flags.json)
    WriteOut(Json::Object().Set("text", text).Set("tokens", IdsToJson(ids)).Dump() + "\n");
  else
    WriteOut(text + "\n");
}

void PrintEncoded(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const std::string text = flags.text ? *flags.text : ReadInput(flags.file.value_or("-"));
  const auto ids = tokenizer.Encode(text, flags.bos ? AddBos::kYes : AddBos::kNo);
  if (flags.json) {
    Json object = Json::Object();
    object.Set("count", static_cast<uint64_t>(ids.size())).Set("tokens", IdsToJson(ids));
    if (flags.pieces) {
      Json pieces = Json::Array();
      for (const TokenId id : ids) pieces.Push(tokenizer.Piece(id));
      object.Set("pieces", std::move(pieces));
    }
    return WriteOut(object.Dump() + "\n");
  }
  if (!flags.pieces) return WriteOut(JoinNumbers(ids, ",") + "\n");
  std::string lines;
  for (const TokenId id : ids)
    lines += fmt::format("{:>7}  {}\n", id, Printable(tokenizer.Piece(id)));
  WriteOut(lines);
}

}  // namespace

int TokenizeCommand(Arguments arguments) {
  TokenizeFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const auto tokenizer = OpenTokenizerAt(flags.path.path);
  if (flags.batch)
    PrintBatch(*flags.batch, *tokenizer, flags.path.path, flags.format);
  else if (flags.decode)
    PrintDecoded(flags, *tokenizer);
  else
    PrintEncoded(flags, *tokenizer);
  return kExitOk;
}

}  // namespace mixtral::cli

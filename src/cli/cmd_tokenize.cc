// SPDX-License-Identifier: Apache-2.0
// mixtral tokenize: text -> ids, ids -> text, batches of strings and conversations -> lists of ids,
// exactly as `run` and `chat` encode them, and conversations explained token by token.
#include "base/strings.h"
#include "cli/chat_format.h"
#include "cli/common_flags.h"
#include "cli/conversation_json.h"
#include "cli/output.h"
#include "cli/tokenizer_file.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral tokenize model.gguf 'Hello world' --pieces\n"
    "  mixtral tokenize tokenizer.model -f text.txt\n"
    "  mixtral tokenize model.gguf --decode 1,17,30\n"
    "  echo '[\"a text\", {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}]' > b.json\n"
    "  mixtral tokenize model.gguf --batch b.json\n"
    "  mixtral tokenize model.gguf --user Hi --system 'Be brief.'\n"
    "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | mixtral tokenize model.gguf --chat -";

struct TokenizeFlags {
  PathFlags path;
  std::string format;
  std::optional<std::string> text, file, batch, decode, chat, user, system;
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
    line.Text("--chat", &chat, "FILE",
              "Explain a conversation token by token ('-': standard input): a JSON list of "
              "messages, or {\"messages\": [...], \"tools\": [...]}");
    line.Text("--user", &user, "TEXT", "Explain a conversation of this one message");
    line.Text("--system", &system, "TEXT", "The system prompt before it");
    line.Text("--decode", &decode, "IDS", "The other way: print the text of ids such as 1,17,30");
    AddChatFormat(line, &format);
    line.Flag("--bos", &bos, "Begin with BOS, as run does");
    line.Flag("--pieces", &pieces, "A line for each token: id and piece");
    line.Flag("--json", &json, "Print one JSON object");
    if (!line.Parse(arguments)) return false;
    const int given = text.has_value() + file.has_value() + batch.has_value() + decode.has_value() +
                      chat.has_value() + user.has_value();
    if (given > 1)
      ThrowUsage(
          "tokenize: expected one of TEXT, --file, --batch, --decode, --chat and --user, found {}",
          given);
    if (system && !user) ThrowUsage("tokenize: expected --user TEXT with --system, found none");
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

ChosenChat ChooseChatFor(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const std::string& path = flags.path.path;
  return ChooseChat(flags.format, tokenizer, path, [&] { return FindChatTemplateAt(path); });
}

void PrintBatch(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const std::string& path = *flags.batch;
  const Json list = Json::Parse(ReadInput(path), path);
  if (!list.IsArray())
    Throw(ErrorCode::kCorrupt, "batch: expected a list of strings and conversations, in {}", path);
  std::optional<ChosenChat> chat;  // made when a conversation needs it
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
      if (!chat) chat.emplace(ChooseChatFor(flags, tokenizer));
      const ConversationInput input = ReadConversation(item);
      out.Push(IdsToJson(WithContext(item.path(), [&] {
        return chat->chat_template.Render(input.messages, input.Options());
      })));
    }
  });
  WriteOut(out.Dump() + "\n");
}

ConversationInput ReadChat(const TokenizeFlags& flags) {
  ConversationInput input;
  if (flags.system) input.messages.push_back({"system", *flags.system});
  if (flags.user) input.messages.push_back({"user", *flags.user});
  if (!flags.chat) return input;
  const Json json = Json::Parse(ReadInput(*flags.chat), *flags.chat);
  return WithContext(*flags.chat, [&] { return ReadConversation(json); });
}

/// A conversation token by token: id, piece, and which rule of the format put it there.
void PrintChat(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const ConversationInput input = ReadChat(flags);
  const ChosenChat chat = ChooseChatFor(flags, tokenizer);
  const auto tokens = WithContext(flags.chat.value_or("--user"), [&] {
    return chat.chat_template.Explain(input.messages, input.Options());
  });
  const std::string_view name = ChatFormatName(chat.chat_template.format());
  if (flags.json) {
    Json list = Json::Array();
    for (const ExplainedToken& token : tokens)
      list.Push(
          Json::Object().Set("id", token.id).Set("piece", token.piece).Set("rule", token.rule));
    return WriteOut(Json::Object()
                        .Set("chat_format", name)
                        .Set("reason", chat.reason)
                        .Set("count", static_cast<uint64_t>(tokens.size()))
                        .Set("tokens", std::move(list))
                        .Dump() +
                    "\n");
  }
  std::string lines = fmt::format("{} ({}): {} tokens\n", name, chat.reason, tokens.size());
  for (const ExplainedToken& token : tokens)
    lines += fmt::format("{:>7}  {:<14}  {}\n", token.id, Printable(token.piece), token.rule);
  WriteOut(lines);
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
    PrintBatch(flags, *tokenizer);
  else if (flags.chat || flags.user)
    PrintChat(flags, *tokenizer);
  else if (flags.decode)
    PrintDecoded(flags, *tokenizer);
  else
    PrintEncoded(flags, *tokenizer);
  return kExitOk;
}

}  // namespace mixtral::cli

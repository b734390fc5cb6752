// SPDX-License-Identifier: Apache-2.0
// mixtral chat: a conversation in the model's chat format, a line a turn. What was computed for the
// turns before is kept in the session's cache.
#include <utility>

#include "base/strings.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral chat model.gguf\n"
    "  mixtral chat model.gguf --system 'Answer in French.' --temperature 0.3\n"
    "  printf 'Hello\\nAnd you?\\n' | mixtral chat model.gguf --seed 1";

constexpr const char* kHelp =
    "/help          this text\n"
    "/reset         forget the conversation (the system prompt stays)\n"
    "/system TEXT   set the system prompt; without TEXT: remove it\n"
    "/regen         answer the last message again\n"
    "/exit          leave, as Ctrl-D does; Ctrl-C stops an answer";

struct ChatFlags {
  PathFlags path;
  ComputeFlags compute;
  GenerateFlags generate;
  std::optional<std::string> system;
  std::string format;
  bool quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("chat", "Talk with a model; /help lists what can be said beside messages.",
                     kExamples);
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Text("--system", &system, "TEXT", "System prompt");
    AddChatFormat(line, &format);
    line.Flag("-q,--quiet", &quiet, "No notes on standard error");
    generate.AddTo(line, "Tokens of an answer at most (default: what the context holds)");
    compute.AddTo(line);
    if (!line.Parse(arguments)) return false;
    generate.CheckAndChooseSeed();
    return true;
  }
};

enum class Next : uint8_t { kGoOn, kLeave, kInterrupted };

class Chat {
 public:
  Chat(const Engine& engine, Session* session, const ChatFlags& flags)
      : session_(session),
        template_(MakeChatTemplate(flags.format, engine.tokenizer(), flags.path.path,
                                   [&] { return engine.checkpoint().chat_template(); })),
        options_(flags.generate.ToOptions()),
        system_(flags.system.value_or("")),
        is_interactive_(StdinIsTerminal()) {
    options_.stream_start = StreamStart::kNewText;
    options_.stop_tokens = template_.StopTokens();
    for (const std::string& text : template_.StopStrings()) options_.stop.push_back(text);
  }
  ChatFormat format() const { return template_.format(); }

  Next Take(const std::string& line) {
    if (!line.empty() && line[0] == '/') return Command(line);
    if (line.find_first_not_of(" \t") == std::string::npos) return Next::kGoOn;
    turns_.push_back({"user", line});
    return Answer();
  }

 private:
  Next Command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const std::string rest = line.substr(std::min(space + 1, line.size()));
    if (name == "/exit" || name == "/quit") return Next::kLeave;
    if (name == "/regen") return Regenerate();
    if (name == "/help") {
      Note("{}", kHelp);
    } else if (name == "/reset") {
      turns_.clear();
      session_->Reset();
      Note("The conversation is forgotten.");
    } else if (name == "/system") {
      system_ = rest;
      Note("{}", system_.empty() ? "No system prompt from now on." : "The system prompt is set.");
    } else {
      Note("Unknown command {}; /help lists them.", Printable(name));
    }
    return Next::kGoOn;
  }

  Next Regenerate() {
    if (!turns_.empty() && turns_.back().role == "assistant") turns_.pop_back();
    if (!turns_.empty()) return Answer();
    Note("There is nothing to answer yet.");
    return Next::kGoOn;
  }

  std::vector<TokenId> RenderTurns() const {
    std::vector<Message> messages;
    if (!system_.empty()) messages.push_back({"system", system_});
    messages.insert(messages.end(), turns_.begin(), turns_.end());
    return template_.Render(messages);
  }

  /// Answers the user's message that turns_ ends with; leaves it out again if that cannot be done.
  Next Answer() {
    const std::vector<TokenId> prompt = RenderTurns();
    if (std::ssize(prompt) >= session_->context()) {
      Note("The conversation would have {} tokens, the context holds {}: /reset begins a new one.",
           prompt.size(), session_->context());
      turns_.pop_back();
      return Next::kGoOn;
    }
    std::string text;
    Progress progress("reading");
    const InterruptScope interrupt;
    const GenerateResult result = session_->Generate(
        prompt, options_,
        [&](std::string_view piece) {
          progress.Clear();
          text += piece;
          WriteOut(piece);
        },
        interrupt.flag(), [&](int64_t done, int64_t total) { progress.Update(done, total); });
    ++options_.sampler.seed;  // so that /regen, and a question asked twice, draw anew
    progress.Clear();
    WriteOut("\n");
    return Finish(result.finish, std::move(text));
  }

  Next Finish(FinishReason finish, std::string text) {
    if (finish == FinishReason::kContextFull)
      Note("The context of {} tokens is full: /reset begins a new conversation.",
           session_->context());
    if (text.empty()) {  // formats have no place for an empty answer
      if (finish != FinishReason::kCancelled) Note("The answer is empty; it is left out.");
      turns_.pop_back();
    } else {
      turns_.push_back({"assistant", std::move(text)});
    }
    if (finish != FinishReason::kCancelled) return Next::kGoOn;
    return is_interactive_ ? Next::kGoOn : Next::kInterrupted;
  }

  Session* session_;
  ChatTemplate template_;
  GenerateOptions options_;
  std::string system_;
  std::vector<Message> turns_;  // user and assistant in turn
  bool is_interactive_;
};

}  // namespace

int ChatCommand(Arguments arguments) {
  ChatFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const auto start = std::chrono::steady_clock::now();
  EngineOptions engine_options = flags.compute.ToEngineOptions();
  engine_options.max_experts_per_token = flags.generate.experts_per_token;
  Engine engine(flags.path.path, engine_options);
  Session session(&engine, flags.generate.ToSessionOptions(engine, flags.compute.KvType()));
  Chat chat(engine, &session, flags);
  if (!flags.quiet) {
    PrintNotices(engine.notices());
    Note("Loaded in {:.2f} s; {}, context {}, seed {}. /help lists commands.",
         Seconds(std::chrono::steady_clock::now() - start), ChatFormatName(chat.format()),
         session.context(), *flags.generate.sampling.seed);
  }
  const auto reader = MakeLineReader();
  std::string line;
  while (true) {
    const LineEvent event = reader->Next(&line);
    if (event == LineEvent::kEnd && StdinIsTerminal()) WriteOut("\n");
    if (event == LineEvent::kEnd) return kExitOk;
    if (event == LineEvent::kInterrupt) return kExitInterrupted;
    const Next next = chat.Take(line);
    if (next == Next::kLeave) return kExitOk;
    if (next == Next::kInterrupted) return kExitInterrupted;
  }
}

}  // namespace mixtral::cli

// SPDX-License-Identifier: Apache-2.0
// mixtral chat: a conversation in the model's chat format. What was computed for the turns before
// is kept in the session's cache. The loop, the commands and the answers; history, input and
// routing have files of their own.
#include <array>
#include <span>
#include <utility>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/chat_format.h"
#include "cli/chat_history.h"
#include "cli/chat_input.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/routing_file.h"
#include "cli/routing_recorder.h"

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
    "/retry         answer the last message again (also /regen)\n"
    "/undo          take the last message and its answer back\n"
    "/save FILE     write the conversation to a file, as JSON\n"
    "/load FILE     go on with a conversation from a file\n"
    "/stats         tokens, speed, use of the context\n"
    "/routing       which experts the last answer used\n"
    "/quit          leave, as Ctrl-D does (also /exit); Ctrl-C stops an answer\n"
    "A line that ends with \\ goes on in the next one; \"\"\" begins and ends a text of several "
    "lines.";

struct ChatFlags {
  PathFlags path;
  ComputeFlags compute;
  GenerateFlags generate;
  std::optional<std::string> system;
  std::string format, policy = "drop-oldest";
  bool quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("chat", "Talk with a model; /help lists what can be said beside messages.",
                     kExamples);
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Text("--system", &system, "TEXT", "System prompt");
    AddChatFormat(line, &format);
    line.Choice("--context-policy", &policy, {"drop-oldest", "stop"},
                "When the context is full: leave the oldest turns out, or answer no more (default "
                "drop-oldest)");
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
  Chat(Engine* engine, Session* session, const ChatFlags& flags)
      : engine_(engine),
        session_(session),
        chosen_(ChooseChat(flags.format, engine->tokenizer(), flags.path.path,
                           [&] { return engine->checkpoint().chat_template(); })),
        history_(&chosen_.chat_template),
        options_(flags.generate.ToOptions()),
        recorder_(engine->config()),
        policy_(flags.policy == "stop" ? ContextPolicy::kStop : ContextPolicy::kDropOldest),
        is_interactive_(StdinIsTerminal()) {
    const Sampler refuses_bad_options(options_.sampler, engine->tokenizer().vocab_size());
    history_.system = flags.system.value_or("");
    options_.stream_start = StreamStart::kNewText;
    options_.observer = &recorder_;
    if (flags.generate.routing) {
      routing_file_.emplace(*flags.generate.routing, *engine, flags.generate.experts_per_token,
                            &recorder_);
      options_.observer = &*routing_file_;
    }
    options_.stop_tokens = chosen_.chat_template.StopTokens();
    for (const std::string& text : chosen_.chat_template.StopStrings())
      options_.stop.push_back(text);
  }
  const ChosenChat& chosen() const { return chosen_; }
  void FinishRoutingFile() {
    if (routing_file_) routing_file_->Finish();
  }

  Next Take(const ChatEntry& entry) {
    if (!entry.is_block && entry.text.starts_with('/')) return Command(entry.text);
    if (entry.text.find_first_not_of(" \t\n") == std::string::npos) return Next::kGoOn;
    history_.Add("user", entry.text);
    return Answer();
  }

 private:
  using Action = Next (Chat::*)(const std::string& argument);
  struct Entry {
    std::string_view name;
    Action action;
  };
  static constexpr size_t kNumCommands = 12;
  static const std::array<Entry, kNumCommands>& Commands();

  /// What a command or a conversation that the format refuses says is a line; the chat goes on.
  Next Command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const std::string argument = line.substr(std::min(space + 1, line.size()));
    std::vector<std::string_view> names;
    for (const Entry& entry : Commands()) {
      names.push_back(entry.name);
      if (entry.name != name) continue;
      try {
        return (this->*entry.action)(argument);
      } catch (const Error& error) {
        Note("{}: {}", name, Printable(error.what(), 2000));
        return Next::kGoOn;
      }
    }
    const std::string near = DidYouMean(name, names);
    Note("Unknown command {}{}", Printable(name), near.empty() ? "; /help lists them." : near);
    return Next::kGoOn;
  }

  Next Help(const std::string& /*argument*/) {
    Note("{}", kHelp);
    return Next::kGoOn;
  }
  Next Quit(const std::string& /*argument*/) { return Next::kLeave; }
  Next Reset(const std::string& /*argument*/) {
    history_.Clear();
    session_->Reset();
    Note("The conversation is forgotten.");
    return Next::kGoOn;
  }
  Next System(const std::string& argument) {
    history_.system = argument;
    Note("{}", argument.empty() ? "No system prompt from now on." : "The system prompt is set.");
    return Next::kGoOn;
  }
  Next Retry(const std::string& /*argument*/) {
    const auto& turns = history_.turns();
    if (turns.empty()) {
      Note("There is nothing to answer yet.");
      return Next::kGoOn;
    }
    if (turns.back().role == "assistant") history_.RemoveLast();
    return Answer();
  }
  Next Undo(const std::string& /*argument*/) {
    Note("{}", history_.Undo() ? "The last message and its answer are taken back."
                               : "There is nothing to take back.");
    return Next::kGoOn;
  }
  Next Save(const std::string& path) {
    if (path.empty()) ThrowUsage("expected the name of a file, found none");
    const std::string text = history_.ToJson().Dump(2) + "\n";
    WriteFileAtomically(path, std::as_bytes(std::span(text)));
    Note("{} messages are saved in {}.", history_.turns().size(), path);
    return Next::kGoOn;
  }
  Next Load(const std::string& path) {
    if (path.empty()) ThrowUsage("expected the name of a file, found none");
    const Json json = Json::Parse(ReadTextFile(path, kMaxFileBytes), path);
    WithContext(path, [&] { history_.Load(json); });
    Note("{} messages are loaded from {}.", history_.turns().size(), path);
    return Next::kGoOn;
  }
  Next Stats(const std::string& /*argument*/) {
    const GenerateResult& last = last_;
    Note("context   {} of {} tokens, {} messages{}", last.prompt_tokens + std::ssize(last.tokens),
         session_->context(), history_.turns().size(),
         history_.n_left_out() == 0
             ? ""
             : fmt::format(", the oldest {} left out", history_.n_left_out()));
    Note("prompt    {} tokens, {} of them new, {:.3f} s, {:.1f} tokens/s", last.prompt_tokens,
         last.prefill_tokens, last.prefill_seconds,
         PerSecond(static_cast<double>(last.prefill_tokens), last.prefill_seconds));
    Note("answer    {} tokens, {:.3f} s, {:.1f} tokens/s, end: {}", last.tokens.size(),
         last.decode_seconds,
         PerSecond(static_cast<double>(last.decode_steps), last.decode_seconds),
         n_answers_ == 0 ? "none yet" : FinishReasonName(last.finish));
    Note("in all    {} answers, {} tokens read, {} written", n_answers_, n_read_, n_written_);
    return Next::kGoOn;
  }
  Next Routing(const std::string& /*argument*/) {
    Note("{}", recorder_.Report(last_.tokens, engine_->tokenizer()));
    return Next::kGoOn;
  }

  /// The prompt for the message that the history ends with, or nothing and the reason printed.
  std::optional<std::vector<TokenId>> PreparePrompt() {
    const int64_t context = session_->context();
    const int64_t wanted = options_.max_tokens >= 0 ? options_.max_tokens : context;
    int64_t n_prompt = 0;
    switch (history_.MakeRoom(policy_, context, std::min(wanted, context / 4), &n_prompt)) {
      case Fit::kTooLong:
        if (policy_ == ContextPolicy::kStop)
          Note(
              "The conversation would have {} tokens, the context holds {}: /reset begins a new "
              "one.",
              n_prompt, context);
        else
          Note("The message needs {} tokens, the context holds {}: it is left out.", n_prompt,
               context);
        return std::nullopt;
      case Fit::kDropped:
        Note("The context of {} tokens is full: the {} oldest messages are not sent any more.",
             context, history_.n_left_out());
        break;
      case Fit::kFits:
        break;
    }
    return history_.Prompt();
  }

  /// Answers the message that the history ends with; takes it back if that cannot be done.
  Next Answer() {
    std::optional<std::vector<TokenId>> prompt;
    try {
      prompt = PreparePrompt();
    } catch (const Error& error) {  // the template refuses it
      Note("{}", Printable(error.what(), 2000));
    }
    if (!prompt) {
      history_.RemoveLast();
      return Next::kGoOn;
    }
    std::string text;
    Progress progress("reading");
    const InterruptScope interrupt;
    recorder_.Begin(std::ssize(*prompt) - 1);
    last_ = session_->Generate(
        *prompt, options_,
        [&](std::string_view piece) {
          progress.Clear();
          text += piece;
          WriteOut(piece);
        },
        interrupt.flag(), [&](int64_t done, int64_t total) { progress.Update(done, total); });
    if (routing_file_) routing_file_->EndSequence("chat");
    ++options_.sampler.seed;  // so that /retry, and a question asked twice, draw anew
    ++n_answers_;
    n_read_ += last_.prefill_tokens;
    n_written_ += std::ssize(last_.tokens);
    progress.Clear();
    WriteOut("\n");
    return Finish(last_.finish, std::move(text));
  }

  Next Finish(FinishReason finish, std::string text) {
    if (finish == FinishReason::kContextFull)
      Note("The context of {} tokens is full: {}.", session_->context(),
           policy_ == ContextPolicy::kStop ? "/reset begins a new conversation"
                                           : "the answer ends here");
    if (text.empty()) {  // formats have no place for an empty answer
      if (finish != FinishReason::kCancelled) Note("The answer is empty; it is left out.");
      history_.RemoveLast();
    } else {
      history_.Add("assistant", text);
    }
    if (finish != FinishReason::kCancelled) return Next::kGoOn;
    return is_interactive_ ? Next::kGoOn : Next::kInterrupted;
  }

  static constexpr size_t kMaxFileBytes = size_t{64} << 20;  // of /load

  Engine* engine_;
  Session* session_;
  ChosenChat chosen_;
  ChatHistory history_;
  GenerateOptions options_;
  RoutingRecorder recorder_;
  std::optional<RoutingFile> routing_file_;
  ContextPolicy policy_;
  bool is_interactive_;
  GenerateResult last_;
  int64_t n_answers_ = 0, n_read_ = 0, n_written_ = 0;
};

const std::array<Chat::Entry, Chat::kNumCommands>& Chat::Commands() {
  static constexpr std::array<Entry, kNumCommands> kCommands = {{{"/help", &Chat::Help},
                                                                 {"/reset", &Chat::Reset},
                                                                 {"/system", &Chat::System},
                                                                 {"/retry", &Chat::Retry},
                                                                 {"/regen", &Chat::Retry},
                                                                 {"/undo", &Chat::Undo},
                                                                 {"/save", &Chat::Save},
                                                                 {"/load", &Chat::Load},
                                                                 {"/stats", &Chat::Stats},
                                                                 {"/routing", &Chat::Routing},
                                                                 {"/quit", &Chat::Quit},
                                                                 {"/exit", &Chat::Quit}}};
  return kCommands;
}

/// Until its input ends, or somebody leaves.
int TalkUntilEnd(Chat* chat) {
  const auto reader = MakeLineReader();
  ChatInput input(reader.get());
  ChatEntry entry;
  while (true) {
    const LineEvent event = input.Next(&entry);
    if (event == LineEvent::kEnd && StdinIsTerminal()) WriteOut("\n");
    if (event == LineEvent::kEnd) return kExitOk;
    if (event == LineEvent::kInterrupt) return kExitInterrupted;
    const Next next = chat->Take(entry);
    if (next == Next::kLeave) return kExitOk;
    if (next == Next::kInterrupted) return kExitInterrupted;
  }
}

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
  Chat chat(&engine, &session, flags);
  if (!flags.quiet) {
    PrintNotices(engine.notices());
    Note("Loaded in {:.2f} s; {}, context {}, seed {}. /help lists commands.",
         Seconds(std::chrono::steady_clock::now() - start),
         ChatFormatName(chat.chosen().chat_template.format()), session.context(),
         *flags.generate.sampling.seed);
  }
  const int exit_code = TalkUntilEnd(&chat);
  chat.FinishRoutingFile();
  return exit_code;
}

}  // namespace mixtral::cli

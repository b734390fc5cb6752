// SPDX-License-Identifier: Apache-2.0
// The adapter around libedit. Ctrl-C at the prompt is a key here and no signal, so that it leaves
// the terminal as it was; while an answer is written, the terminal is in its usual mode and Ctrl-C
// is the signal of interrupt.h.
#include "cli/line_editor.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr int kHistoryLines = 1000;

/// Without a UTF-8 locale libedit would take every byte of a letter for a letter.
void UseUtf8Locale() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

/// What libedit's callbacks get at, as its client data.
struct EditState {
  LinePrompt prompt = LinePrompt::kMessage;
  bool interrupted = false;
};

EditState& StateOf(EditLine* editor) {
  EditState* state = nullptr;
  el_get(editor, EL_CLIENTDATA, &state);
  return *state;
}

char* Prompt(EditLine* editor) {
  static char message[] = "> ", continued[] = ". ";
  return StateOf(editor).prompt == LinePrompt::kMessage ? message : continued;
}

/// Bound to Ctrl-C: ends the line.
unsigned char OnInterruptKey(EditLine* editor, int /*key*/) {
  StateOf(editor).interrupted = true;
  return CC_EOF;
}

/// Bound to what a terminal sends before a pasted text: takes all up to what it sends behind it, so
/// that a line end in it does not end the message.
unsigned char OnPaste(EditLine* editor, int /*key*/) {
  constexpr std::string_view kEnd = "\033[201~";
  std::string text;
  char c = 0;
  while (!text.ends_with(kEnd) && el_getc(editor, &c) == 1) text += c == '\r' ? '\n' : c;
  if (text.ends_with(kEnd)) text.resize(text.size() - kEnd.size());
  while (text.ends_with('\n')) text.pop_back();
  std::erase(text, '\0');
  el_insertstr(editor, text.c_str());
  return CC_REFRESH;
}

/// While one lives, the terminal marks what is pasted.
class MarkedPaste {
 public:
  explicit MarkedPaste(bool is_used) : is_used_(is_used) { Write("\033[?2004h"); }
  ~MarkedPaste() { Write("\033[?2004l"); }
  MarkedPaste(const MarkedPaste&) = delete;
  MarkedPaste& operator=(const MarkedPaste&) = delete;

 private:
  void Write(const char* code) const {
    if (!is_used_) return;
    std::fputs(code, stdout);
    std::fflush(stdout);
  }
  bool is_used_;
};

/// Whether the screen takes control codes at all.
bool IsCapableTerminal() {
  const char* term = std::getenv("TERM");
  return StdoutIsTerminal() && term != nullptr && std::string_view(term) != "dumb";
}

class Editor final : public LineReader {
 public:
  Editor() {
    UseUtf8Locale();
    editor_ = el_init("mixtral", stdin, StdoutIsTerminal() ? stdout : stderr, stderr);
    history_ = history_init();
    Check(editor_ != nullptr && history_ != nullptr, "libedit could not start");
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryLines);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_CLIENTDATA, &state_);
    el_set(editor_, EL_PROMPT, &Prompt);
    el_set(editor_, EL_SIGNAL, 1);  // the terminal is put right before a signal does its work
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_ADDFN, "mixtral-interrupt", "Stop reading", &OnInterruptKey);
    el_set(editor_, EL_BIND, "^C", "mixtral-interrupt", nullptr);
    el_set(editor_, EL_ADDFN, "mixtral-paste", "Take a pasted text", &OnPaste);
    el_set(editor_, EL_BIND, "\\e[200~", "mixtral-paste", nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(editor_, EL_SETTY, "-d", "intr=", nullptr);  // while editing Ctrl-C is a key
  }
  ~Editor() override {
    history_end(history_);
    el_end(editor_);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  LineEvent Next(LinePrompt prompt, std::string* line) override {
    state_ = {.prompt = prompt};
    int length = 0;
    const MarkedPaste marked(IsCapableTerminal());
    const char* text = el_gets(editor_, &length);
    if (state_.interrupted) return LineEvent::kInterrupt;
    if (text == nullptr || length <= 0) return LineEvent::kEnd;
    line->assign(text, static_cast<size_t>(length));
    if (line->back() == '\n') line->pop_back();
    HistEvent event;
    if (!line->empty()) history(history_, &event, H_ENTER, line->c_str());
    return LineEvent::kLine;
  }

 private:
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  EditState state_;
};

class PlainLines final : public LineReader {
 public:
  LineEvent Next(LinePrompt /*prompt*/, std::string* line) override {
    char* text = nullptr;
    size_t capacity = 0;
    const ssize_t n = getline(&text, &capacity, stdin);
    if (n >= 0) line->assign(text, static_cast<size_t>(n));
    std::free(text);
    if (n < 0) return LineEvent::kEnd;
    if (!line->empty() && line->back() == '\n') line->pop_back();
    if (!line->empty() && line->back() == '\r') line->pop_back();
    return LineEvent::kLine;
  }
};

}  // namespace

std::unique_ptr<LineReader> MakeLineReader() {
  if (StdinIsTerminal()) return std::make_unique<Editor>();
  return std::make_unique<PlainLines>();
}

}  // namespace mixtral::cli

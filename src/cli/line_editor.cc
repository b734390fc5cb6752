// SPDX-License-Identifier: Apache-2.0
// The adapter around libedit. Ctrl-C at the prompt is a key here and no signal, so that it leaves
// the terminal as it was; while an answer is written, the terminal is in its usual mode and Ctrl-C
// is the signal of interrupt.h.
#include "cli/line_editor.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>

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

char* Prompt(EditLine* /*editor*/) {
  static char prompt[] = "> ";
  return prompt;
}

/// Bound to Ctrl-C: marks the editor's client data and ends the line.
unsigned char OnInterruptKey(EditLine* editor, int /*key*/) {
  bool* interrupted = nullptr;
  el_get(editor, EL_CLIENTDATA, &interrupted);
  *interrupted = true;
  return CC_EOF;
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
    el_set(editor_, EL_CLIENTDATA, &interrupted_);
    el_set(editor_, EL_PROMPT, &Prompt);
    el_set(editor_, EL_SIGNAL, 1);  // the terminal is put right before a signal does its work
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_ADDFN, "mixtral-interrupt", "Stop reading", &OnInterruptKey);
    el_set(editor_, EL_BIND, "^C", "mixtral-interrupt", nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(editor_, EL_SETTY, "-d", "intr=", nullptr);  // while editing Ctrl-C is a key
  }
  ~Editor() override {
    history_end(history_);
    el_end(editor_);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  LineEvent Next(std::string* line) override {
    interrupted_ = false;
    int length = 0;
    const char* text = el_gets(editor_, &length);
    if (interrupted_) return LineEvent::kInterrupt;
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
  bool interrupted_ = false;
};

class PlainLines final : public LineReader {
 public:
  LineEvent Next(std::string* line) override {
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

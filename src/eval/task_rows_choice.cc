// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "eval/task_rows.h"

namespace mixtral::eval::rows {
namespace {

std::string Text(const Json& row, std::string_view key) { return row.At(key).AsString(); }

std::string Stripped(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::vector<std::string> Texts(const Json& list) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < list.Size(); ++i) texts.push_back(list.At(i).AsString());
  return texts;
}

/// Every choice after one prompt; the example shows the right one.
Item Choices(std::string prompt, const std::vector<std::string>& choices, size_t right,
             std::string_view before_choice = " ") {
  Item item;
  item.prompt = std::move(prompt);
  for (const std::string& choice : choices)
    item.continuations.push_back(std::string(before_choice) + choice);
  item.right = right;
  if (right < choices.size()) item.example = item.prompt + item.continuations[right];
  return item;
}

size_t Index(const Json& value) { return static_cast<size_t>(value.AsInt(0, 1000)); }

size_t Letter(const Json& row) {
  const std::string answer = Text(row, "answer");
  if (answer.size() == 1 && answer[0] >= 'A' && answer[0] <= 'Z')
    return static_cast<size_t>(answer[0] - 'A');
  if (answer.size() == 1 && answer[0] >= '1' && answer[0] <= '9')
    return static_cast<size_t>(answer[0] - '1');
  Throw(ErrorCode::kCorrupt, "{}.answer: expected a letter, found \"{}\"", row.path(), answer);
}

std::vector<std::string> Options(const Json& row) {
  std::vector<std::string> options;
  for (char letter = 'a'; letter <= 'h'; ++letter)
    if (const auto option = row.Find(std::string("option_") + letter))
      options.push_back(option->AsString());
  return options;
}

/// "QUESTION\nA. first\nB. second\nAnswer:" and the letters as choices.
Item Lettered(const std::string& question, const std::vector<std::string>& choices, size_t right) {
  std::string prompt = Stripped(question) + "\n";
  std::vector<std::string> letters;
  for (const std::string& choice : choices) {
    letters.emplace_back(1, static_cast<char>('A' + letters.size()));
    prompt += letters.back() + ". " + choice + "\n";
  }
  return Choices(prompt + "Answer:", letters, right);
}

/// "moral_disputes/val/7" and "ARC-Challenge/test/1": what is before the first slash.
std::string BeforeSlash(const std::string& id) { return id.substr(0, id.find('/')); }

/// Without "[...]" of one line, the shortest each. By hand: std::regex recurses for every
/// character.
std::string WithoutMarks(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t open = std::min(text.find('['), text.size());
    out += text.substr(0, open);
    text.remove_prefix(open);
    if (text.empty()) break;
    const size_t end = std::min(text.find_first_of("]\n"), text.size() - 1);
    if (text[end] != ']') out += text.substr(0, end + 1);  // none of this line is closed
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace

std::string CleanHellaSwag(std::string text) {
  text = Stripped(text);
  for (size_t at = 0; (at = text.find(" [title]", at)) != std::string::npos;)
    text.replace(at, 8, ". ");
  text = WithoutMarks(text);
  for (size_t at = 0; (at = text.find("  ", at)) != std::string::npos;) text.replace(at, 2, " ");
  return text;
}

Item HellaSwag(const Json& row) {
  std::vector<std::string> endings;
  for (const std::string& ending : Texts(row.At("endings")))
    endings.push_back(CleanHellaSwag(ending));
  const auto activity = row.Find("activity_label");
  const std::string before = activity ? activity->AsString() + ": " : "";
  return Choices(CleanHellaSwag(before + Text(row, "context")), endings, Index(row.At("label")));
}

Item WinoGrande(const Json& row) {
  Item item;
  const std::string continuation = " " + Text(row, "continuation");
  item.contexts = Texts(row.At("context_options"));
  item.continuations.assign(item.contexts.size(), continuation);
  item.right = Index(row.At("gold"));
  if (item.right < item.contexts.size()) item.example = item.contexts[item.right] + continuation;
  return item;
}

Item Piqa(const Json& row) {
  return Choices("Question: " + Text(row, "goal") + "\nAnswer:",
                 {Text(row, "sol1"), Text(row, "sol2")}, Index(row.At("label")));
}

Item QueryAnswer(const Json& row) {
  return Choices(Text(row, "query") + "\nAnswer:", Texts(row.At("choices")), Index(row.At("gold")));
}

Item Query(const Json& row) {
  std::string query = Text(row, "query");
  const size_t question = query.rfind("\nQuestion:");
  // BoolQ's rows end with the question itself.
  if (question != std::string::npos && query.ends_with('?')) query += "\nAnswer:";
  return Choices(query, Texts(row.At("choices")), Index(row.At("gold")));
}

Item Mmlu(const Json& row) {
  Item item = Lettered(Text(row, "question"), Texts(row.At("choices")), Index(row.At("answer")));
  item.group = Text(row, "subject");
  std::string subject = item.group;
  for (char& c : subject)
    if (c == '_') c = ' ';
  item.header =
      "The following are multiple choice questions (with answers) about " + subject + ".\n\n";
  return item;
}

Item OkapiArc(const Json& row) {
  return Choices("Question: " + Text(row, "instruction") + "\nAnswer:", Options(row), Letter(row));
}

Item OkapiMmlu(const Json& row) {
  Item item = Lettered(Text(row, "instruction"), Options(row), Letter(row));
  item.group = BeforeSlash(Text(row, "id"));
  return item;
}

Item TruthfulQa(const Json& row) {
  const std::vector<int64_t> labels = row.At("mc1_targets_labels").AsIntArray();
  size_t right = 0;
  while (right < labels.size() && labels[right] != 1) ++right;
  return Choices("Q: " + Text(row, "question") + "\nA:", Texts(row.At("mc1_targets_choices")),
                 right);
}

Item XcopaItalian(const Json& row) {
  std::string premise = Stripped(Text(row, "premise"));
  if (!premise.empty() && premise.back() == '.') premise.pop_back();
  const std::string kind = Text(row, "question");
  if (kind != "cause" && kind != "effect")
    Throw(ErrorCode::kCorrupt, "{}.question: expected cause or effect, found \"{}\"", row.path(),
          kind);
  std::vector<std::string> choices;
  for (const char* key : {"choice1", "choice2"}) {
    std::string choice = Text(row, key);
    if (!choice.empty())
      choice[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(choice[0])));
    choices.push_back(choice);
  }
  return Choices(premise + (kind == "cause" ? " perch\xC3\xA9" : " quindi"), choices,
                 Index(row.At("label")));
}

}  // namespace mixtral::eval::rows

// SPDX-License-Identifier: Apache-2.0
// Requests are keyed by SHA-256 of their JSON form, so that the file stays small beside prompts of
// many examples.
#include "eval/resumable_model.h"

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/sha256.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

std::string KeyOf(const ContinuationRequest& request) {
  Json json = Json::Array();
  json.Push("score").Push(request.context).Push(request.continuation);
  return Sha256Hex(json.Dump());
}

std::string KeyOf(const std::string& text) {
  Json json = Json::Array();
  json.Push("roll").Push(text);
  return Sha256Hex(json.Dump());
}

std::string KeyOf(const GenerationRequest& request) {
  Json json = Json::Array(), stop = Json::Array();
  for (const std::string& text : request.stop) stop.Push(text);
  json.Push("generate").Push(request.prompt).Push(stop).Push(request.max_tokens);
  json.Push(request.temperature).Push(request.top_p).Push(request.seed).Push(request.n);
  for (const ChatMessage& message : request.messages) json.Push(message.role).Push(message.content);
  return Sha256Hex(json.Dump());
}

Json JsonOf(const Likelihood& likelihood) {
  Json json = Json::Array(), tokens = Json::Array();
  json.Push(likelihood.logprob).Push(likelihood.n_tokens).Push(likelihood.is_greedy);
  for (const float logprob : likelihood.token_logprobs) tokens.Push(logprob);
  return json.Push(tokens);
}

Json JsonOf(const GeneratedAnswers& answers) {
  Json json = Json::Array();
  for (const std::string& text : answers.texts) json.Push(text);
  return json;
}

void Read(const Json& json, Likelihood* likelihood) {
  likelihood->logprob = json.At(size_t{0}).AsDouble();
  likelihood->n_tokens = json.At(1).AsInt(0);
  likelihood->is_greedy = json.At(2).AsBool();
  const Json tokens = json.At(3);
  for (size_t i = 0; i < tokens.Size(); ++i)
    likelihood->token_logprobs.push_back(static_cast<float>(tokens.At(i).AsDouble()));
}

void Read(const Json& json, GeneratedAnswers* answers) {
  for (size_t i = 0; i < json.Size(); ++i) answers->texts.push_back(json.At(i).AsString());
}

/// Text without bytes that JSON cannot hold, so that a resumed run sees the same as the first.
std::string Storable(const std::string& text) { return ReplaceInvalidUtf8(text); }
void MakeStorable(Likelihood* /*likelihood*/) {}
void MakeStorable(GeneratedAnswers* answers) {
  for (std::string& text : answers->texts) text = Storable(text);
}

}  // namespace

struct AnswerFile::File {
  std::ofstream out;
};

AnswerFile::AnswerFile(const std::string& path, const Json& run)
    : path_(path), file_(std::make_unique<File>()) {
  std::error_code ignored;
  const bool is_new = !std::filesystem::exists(path, ignored);
  if (!is_new) Read(run);
  file_->out.open(path, std::ios::binary | std::ios::app);
  const bool is_empty = is_new || std::filesystem::file_size(path, ignored) == 0;
  if (is_empty) file_->out << run.Dump() << '\n' << std::flush;
  if (!file_->out) Throw(ErrorCode::kIo, "answers: cannot write {}", path);
}

AnswerFile::~AnswerFile() = default;

void AnswerFile::Read(const Json& run) {
  std::ifstream in(path_, std::ios::binary);
  if (!in) Throw(ErrorCode::kIo, "answers: cannot read {}", path_);
  std::string text;
  uintmax_t n_whole = 0;
  for (int64_t line = 1; std::getline(in, text); ++line) {
    if (in.eof()) break;  // no line end: the writer was stopped within it
    n_whole += text.size() + 1;
    const std::string where = fmt::format("{} line {}", path_, line);
    const Json json = Json::Parse(text, where);
    if (line > 1) {
      known_[json.At("key").AsString()] = json.At("answer");
      continue;
    }
    for (const std::string& key : run.Keys()) {
      const auto found = json.Find(key);
      const std::string before = found ? found->Dump() : "none", now = run.At(key).Dump();
      if (before != now)
        Throw(
            ErrorCode::kInvalidArgument,
            "resume: expected {} {} as in the run that is there, found {}; choose another folder, "
            "in {}",
            key, Printable(before, 200), Printable(now, 200), path_);
    }
  }
  in.close();
  std::filesystem::resize_file(path_, n_whole);
}

const Json* AnswerFile::Find(const std::string& key) const {
  const auto found = known_.find(key);
  return found == known_.end() ? nullptr : &found->second;
}

void AnswerFile::Append(const std::string& key, const Json& answer) {
  Json line = Json::Object();
  line.Set("key", key).Set("answer", answer);
  file_->out << line.Dump() + '\n' << std::flush;
  if (!file_->out) Throw(ErrorCode::kIo, "answers: cannot write {}", path_);
  known_[key] = answer;
}

template <class Request, class Answer, class Ask>
void ResumableModel::Run(std::span<const Request> requests,
                         const std::function<void(size_t, const Answer&)>& done, Ask ask) {
  const auto total = static_cast<int64_t>(requests.size());
  int64_t n_done = 0;
  const auto report = [&](size_t index, const Answer& answer) {
    done(index, answer);
    if (hooks_.on_progress) hooks_.on_progress(++n_done, total);
  };
  std::vector<Request> open;
  std::vector<size_t> places;  // [n_open] in requests
  std::vector<std::string> keys;
  for (size_t i = 0; i < requests.size(); ++i) {
    std::string key = file_ ? KeyOf(requests[i]) : "";
    if (const Json* known = file_ ? file_->Find(key) : nullptr) {
      Answer answer;
      Read(*known, &answer);
      report(i, answer);
      continue;
    }
    open.push_back(requests[i]);
    places.push_back(i);
    keys.push_back(std::move(key));
  }
  size_t n_answered = 0;
  const auto on_answer = [&](size_t i, const Answer& given) {
    Answer answer = given;
    MakeStorable(&answer);
    if (file_) file_->Append(keys[i], JsonOf(answer));
    ++n_answered;
    report(places[i], answer);
  };
  if (!open.empty()) ask(open, on_answer);
  if (n_answered == open.size()) return;
  if (hooks_.cancel && hooks_.cancel->load()) throw Cancelled();
  Throw(ErrorCode::kInternal, "model: expected {} answers, found {}", open.size(), n_answered);
}

void ResumableModel::Score(std::span<const ContinuationRequest> requests,
                           const OnLikelihood& done) {
  Run<ContinuationRequest, Likelihood>(
      requests, done, [&](const auto& open, const OnLikelihood& got) { model_->Score(open, got); });
}

void ResumableModel::Roll(std::span<const std::string> texts, const OnLikelihood& done) {
  Run<std::string, Likelihood>(
      texts, done, [&](const auto& open, const OnLikelihood& got) { model_->Roll(open, got); });
}

void ResumableModel::Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) {
  Run<GenerationRequest, GeneratedAnswers>(
      requests, done, [&](const auto& open, const OnAnswers& got) { model_->Generate(open, got); });
}

}  // namespace mixtral::eval

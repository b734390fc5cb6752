// SPDX-License-Identifier: Apache-2.0
// An exchange in memory. What the handlers post from their threads waits in a queue for the caller
// of Next, who is the I/O thread here.
#include "server/offline.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "server/app.h"

namespace mixtral::server {
namespace {

/// Tasks from any thread for one that takes them.
class Tasks {
 public:
  void Push(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    ready_.notify_one();
  }
  /// An empty function when none came in time.
  std::function<void()> Take(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (!ready_.wait_for(lock, patience, [this] { return !tasks_.empty(); })) return {};
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
};

class MemoryExchange final : public Exchange {
 public:
  using OnReply = std::function<void(HttpReply reply, const ExchangeFacts& facts)>;

  MemoryExchange(HttpRequest request, std::shared_ptr<Tasks> tasks, OnReply on_reply)
      : request_(std::move(request)), tasks_(std::move(tasks)), on_reply_(std::move(on_reply)) {}

  const HttpRequest& request() const override { return request_; }
  ExchangeFacts& facts() override { return facts_; }
  void Post(std::function<void()> fn) override { tasks_->Push(std::move(fn)); }
  void AddHeader(std::string, std::string) override {}
  void Reply(HttpReply reply) override {
    if (is_over_) return;
    is_over_ = true;
    on_gone_ = nullptr;  // it may hold us
    on_reply_(std::move(reply), facts_);
  }
  // Streams are for those who wait for them; a caller of Offline gets the whole answer.
  void BeginEvents() override { Reply({.status = 400, .body = "streams need a connection"}); }
  bool has_begun_events() const override { return false; }
  void Write(std::string_view) override {}
  void EndEvents(End) override {}
  bool is_over() const override { return is_over_; }
  void OnGone(std::function<void()> fn) override {
    if (has_gone_) return fn();
    if (!is_over_) on_gone_ = std::move(fn);
  }
  void Gone() {
    has_gone_ = is_over_ = true;
    if (const auto fn = std::exchange(on_gone_, nullptr)) fn();
  }

 private:
  HttpRequest request_;
  std::shared_ptr<Tasks> tasks_;
  OnReply on_reply_;
  ExchangeFacts facts_;
  std::function<void()> on_gone_;
  bool is_over_ = false, has_gone_ = false;
};

}  // namespace

struct Offline::State {
  explicit State(const std::string& version) : app(MakeOptions(version), "offline") {}
  static ServerOptions MakeOptions(const std::string& version) {
    ServerOptions options;
    options.version = version;
    return options;
  }

  std::shared_ptr<Tasks> tasks = std::make_shared<Tasks>();
  std::map<size_t, std::shared_ptr<MemoryExchange>> open;
  std::deque<OfflineAnswer> answers;
  std::shared_ptr<ServedModel> model;
  App app;
};

Offline::Offline(const ModelOptions& options, const std::string& version)
    : state_(std::make_shared<State>(version)) {
  state_->model = std::make_shared<ServedModel>(options);
  state_->app.SetModel(state_->model);
}

Offline::~Offline() {
  CancelAll();
  state_->model.reset();
  state_->app.Close();  // the service ends and tells nobody that is still there
  while (const auto task = state_->tasks->Take({})) task();
}

void Offline::Submit(size_t key, std::string path, std::string body) {
  HttpRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.body = std::move(body);
  request.headers = {{"content-type", "application/json"}};
  State* state = state_.get();
  const auto exchange = std::make_shared<MemoryExchange>(
      std::move(request), state->tasks, [state, key](HttpReply reply, const ExchangeFacts& facts) {
        state->answers.push_back({key, reply.status, std::move(reply.body),
                                  std::max<int64_t>(0, facts.prompt_tokens),
                                  std::max<int64_t>(0, facts.completion_tokens)});
        state->open.erase(key);
      });
  state->open[key] = exchange;
  state->app.Handle(exchange);
}

std::optional<OfflineAnswer> Offline::Next(std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (state_->answers.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    const std::function<void()> task = state_->tasks->Take(std::max(left, {}));
    if (!task) return std::nullopt;
    task();
  }
  OfflineAnswer answer = std::move(state_->answers.front());
  state_->answers.pop_front();
  return answer;
}

void Offline::CancelAll() {
  for (const auto& [key, exchange] : std::exchange(state_->open, {})) exchange->Gone();
  state_->answers.clear();
}

const ServedModel& Offline::model() const { return *state_->model; }

}  // namespace mixtral::server

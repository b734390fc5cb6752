// SPDX-License-Identifier: Apache-2.0
// Beast parses requests; answers are written as text. Deadlines are looked at by Tick, which needs
// no timer for each operation. While an answer is made, a one-off read stands by: its end of file
// is the client's leaving, its bytes are the next request.
#include "server/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <utility>

namespace mixtral::server {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;

constexpr size_t kReadBytes = 4096;
constexpr double kLingerSeconds = 2;
constexpr size_t kLingerBytes = 1 << 20;

Clock::duration Span(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

auto Into(error_code* error) { return asio::redirect_error(asio::use_awaitable, *error); }

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

HttpRequest Convert(Parser& parser, const std::string& remote) {
  auto& message = parser.get();
  HttpRequest request;
  request.remote = remote;
  request.method = View(message.method_string());
  const std::string_view target = View(message.target());
  const size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  request.query = target.substr(std::min(question + 1, target.size()));
  for (const auto& field : message)
    request.headers.emplace_back(Lower(View(field.name_string())), View(field.value()));
  request.body = std::move(message.body());
  return request;
}

/// What the body may take; all that is allowed when its length is not said.
size_t BodyBytes(Parser& parser, const HttpLimits& limits) {
  if (parser.is_done()) return 0;
  const auto length = parser.content_length();
  return length ? static_cast<size_t>(std::min<uint64_t>(*length, limits.body_bytes))
                : limits.body_bytes;
}

struct Refusal {
  int status;
  std::string message;
};

/// What is answered to a request that could not be read; nullopt: nothing, the client has gone.
std::optional<Refusal> RefusalOf(const error_code& error, const HttpLimits& limits) {
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error.category() != http::make_error_code(http::error::bad_value).category())
    return std::nullopt;
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return Refusal{431, fmt::format("headers: expected at most {} bytes", limits.header_bytes)};
  if (error == http::error::body_limit)
    return Refusal{413, fmt::format("body: expected at most {} bytes", limits.body_bytes)};
  return Refusal{400, "malformed HTTP request: " + error.message()};
}

}  // namespace

Connection::Connection(ConnectionContext* context, TcpSocket socket)
    : context_(context), socket_(std::move(socket)), timer_(*context->io) {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  const auto endpoint = socket_.remote_endpoint(ignored);
  if (!ignored) remote_ = fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
  EnterPhase(Phase::kIdle, context_->limits.keep_alive_seconds);
}

void Connection::EnterPhase(Phase phase, double seconds) {
  phase_ = phase;
  deadline_ = Clock::now() + Span(seconds);
}

asio::awaitable<void> Connection::Sleep() {
  error_code ignored;
  timer_.expires_at(Clock::time_point::max());
  co_await timer_.async_wait(Into(&ignored));
}

/// Not while bytes wait that nobody has parsed: the parser reads the socket itself.
void Connection::Watch() {
  if (is_watching_ || has_gone_ || buffer_.size() > 0) return;
  is_watching_ = true;
  socket_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](const error_code& error, size_t n_bytes) {
                            self->is_watching_ = false;
                            if (error) return self->Leave();
                            self->buffer_.commit(n_bytes);
                            self->Wake();
                          });
}

void Connection::Leave() {
  has_gone_ = true;
  if (const auto exchange = exchange_) exchange->Gone();
  Wake();
}

void Connection::Close() {
  error_code ignored;
  socket_.close(ignored);
  Leave();
}

void Connection::CloseIfIdle() {
  if (phase_ == Phase::kIdle) Close();
}

void Connection::Tick(Clock::time_point now) {
  const bool can_expire = phase_ != Phase::kAnswer || is_writing_;
  if (can_expire && now >= deadline_) {
    if (phase_ == Phase::kHeader || phase_ == Phase::kBody) {
      error_code ignored;
      constexpr std::string_view kTimeout =
          "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      socket_.write_some(asio::buffer(kTimeout), ignored);
    }
    return Close();
  }
  const bool is_stream = exchange_ != nullptr && exchange_->is_events_ && !exchange_->is_over_;
  if (is_stream && now - exchange_->last_write_ > Span(context_->limits.ping_seconds))
    exchange_->Write(": ping\n\n");
}

asio::awaitable<bool> Connection::WaitForBytes() {
  EnterPhase(Phase::kIdle, context_->limits.keep_alive_seconds);
  if (context_->is_draining && buffer_.size() == 0) co_return false;
  Watch();
  while (buffer_.size() == 0 && !has_gone_) co_await Sleep();
  co_return !has_gone_;
}

Connection::Next Connection::Refuse(int status, const std::string& message,
                                    std::shared_ptr<LiveExchange>* exchange) {
  HttpRequest request;
  request.remote = remote_;
  *exchange = std::make_shared<LiveExchange>(weak_from_this(), context_, std::move(request));
  (*exchange)->keep_alive_ = false;
  (*exchange)->facts_.request_id = RequestIdOf((*exchange)->request());
  (*exchange)->facts_.handler = "refused";
  HttpError error(status, message);
  if (status == 503) error.retry_after = 1;
  (*exchange)->Reply(ErrorReply(error));
  return Next::kLinger;
}

asio::awaitable<Connection::Next> Connection::ServeOne() {
  if (!co_await WaitForBytes()) co_return Next::kClose;
  EnterPhase(Phase::kHeader, context_->limits.header_seconds);
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(context_->limits.header_bytes));
  parser.body_limit(context_->limits.body_bytes);
  error_code error;
  std::shared_ptr<LiveExchange> exchange;
  co_await http::async_read_header(socket_, buffer_, parser, Into(&error));
  if (!error && parser.get().target().size() > context_->limits.uri_bytes) {
    Refuse(414, fmt::format("URI: expected at most {} bytes", context_->limits.uri_bytes),
           &exchange);
    co_return co_await Answer(exchange);
  }
  BodyShare share(context_);
  if (!error && !share.Take(BodyBytes(parser, context_->limits))) {
    Refuse(503, "the server has no room for another body", &exchange);
    co_return co_await Answer(exchange);
  }
  if (!error) {
    EnterPhase(Phase::kBody, context_->limits.body_seconds);
    if (View(parser.get()[http::field::expect]) == "100-continue") {
      constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(socket_, asio::buffer(kContinue), Into(&error));
    }
    if (!error) co_await http::async_read(socket_, buffer_, parser, Into(&error));
  }
  if (error) {
    const auto refusal = RefusalOf(error, context_->limits);
    if (!refusal || !socket_.is_open()) co_return Next::kClose;
    Refuse(refusal->status, refusal->message, &exchange);
    co_return co_await Answer(exchange);
  }
  exchange = std::make_shared<LiveExchange>(weak_from_this(), context_, Convert(parser, remote_));
  exchange->keep_alive_ = parser.keep_alive();
  exchange->is_http10_ = parser.get().version() < 11;
  exchange->is_head_ = parser.get().method() == http::verb::head;
  exchange->facts_.request_id = RequestIdOf(exchange->request_);
  exchange->AddHeader("X-Request-Id", exchange->facts_.request_id);
  exchange_ = exchange;
  context_->handler(exchange);
  co_return co_await Answer(exchange);
}

asio::awaitable<Connection::Next> Connection::Answer(std::shared_ptr<LiveExchange> exchange) {
  exchange_ = exchange;
  EnterPhase(Phase::kAnswer, 0);
  error_code error;
  while (!has_gone_ && !error) {
    Watch();
    writing_ = exchange->TakeOutput();
    if (writing_.empty()) {
      if (exchange->is_over_) break;
      co_await Sleep();
      continue;
    }
    is_writing_ = true;
    deadline_ = Clock::now() + Span(context_->limits.stall_seconds);
    co_await asio::async_write(socket_, asio::buffer(writing_), Into(&error));
    is_writing_ = false;
  }
  const bool was_complete = exchange->is_over_ && !has_gone_ && !error && !exchange->has_gone_;
  if (!was_complete) exchange->Gone();
  exchange_.reset();
  const std::chrono::duration<double> seconds = Clock::now() - exchange->began_;
  context_->access({.request = &exchange->request_,
                    .facts = &exchange->facts_,
                    .status = exchange->status_,
                    .bytes_out = exchange->bytes_out_,
                    .seconds = seconds.count(),
                    .client_gone = !was_complete});
  if (!was_complete) co_return Next::kClose;
  co_return exchange->keep_alive_ ? Next::kKeepAlive : Next::kLinger;
}

/// Lets the client read the answer before the connection is reset because of bytes of its that
/// nobody has read.
asio::awaitable<void> Connection::Linger() {
  EnterPhase(Phase::kLinger, kLingerSeconds);
  error_code error;
  socket_.shutdown(TcpSocket::shutdown_send, error);
  if (!is_watching_) buffer_.clear();  // else a read into it is under way
  for (size_t n_bytes = 0; !error && !has_gone_ && n_bytes < kLingerBytes;) {
    Watch();
    while (is_watching_ && !has_gone_) co_await Sleep();
    n_bytes += buffer_.size();
    buffer_.clear();
  }
}

asio::awaitable<void> Connection::Run() {
  const auto self = shared_from_this();
  Next next = Next::kKeepAlive;
  while (next == Next::kKeepAlive) next = co_await ServeOne();
  if (next == Next::kLinger) co_await Linger();
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace mixtral::server

// SPDX-License-Identifier: Apache-2.0
// One client's connection: a coroutine that reads requests and writes what handlers answer, while
// a pending read watches for the client's leaving. Private to http_server.cc and connection.cc.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "server/http_server.h"

namespace mixtral::server {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using TcpSocket = asio::ip::tcp::socket;

class LiveExchange;

/// What all connections of a server share. The I/O thread alone touches it.
struct ConnectionContext {
  asio::io_context* io = nullptr;
  HttpLimits limits;
  HttpServer::Handler handler;
  HttpServer::AccessSink access;
  bool is_draining = false;
  size_t body_bytes = 0;  // held by all BodyShares
};

/// A request's part of the memory for bodies, while it is read and answered.
class BodyShare {
 public:
  explicit BodyShare(ConnectionContext* context) : context_(context) {}
  ~BodyShare() { context_->body_bytes -= n_bytes_; }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  /// false: there is no room.
  bool Take(size_t n_bytes) {
    if (context_->body_bytes + n_bytes > context_->limits.all_bodies_bytes) return false;
    context_->body_bytes += n_bytes;
    n_bytes_ += n_bytes;
    return true;
  }

 private:
  ConnectionContext* context_;
  size_t n_bytes_ = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionContext* context, TcpSocket socket);

  /// Until the connection ends.
  asio::awaitable<void> Run();
  /// Called a few times a second: enforces deadlines, sends pings.
  void Tick(Clock::time_point now);
  /// Closes at once if no request is being read or answered.
  void CloseIfIdle();
  void Close();
  bool is_answering() const { return exchange_ != nullptr; }

 private:
  friend class LiveExchange;
  enum class Phase : uint8_t { kIdle, kHeader, kBody, kAnswer, kLinger };
  enum class Next : uint8_t { kKeepAlive, kClose, kLinger };

  asio::awaitable<Next> ServeOne();
  asio::awaitable<bool> WaitForBytes();
  asio::awaitable<Next> Answer(std::shared_ptr<LiveExchange> exchange);
  asio::awaitable<void> Linger();
  asio::awaitable<void> Sleep();  // until Wake
  void Wake() { timer_.cancel(); }
  void Watch();
  void Leave();  // the client has gone
  void EnterPhase(Phase phase, double seconds);
  Next Refuse(int status, const std::string& message, std::shared_ptr<LiveExchange>* exchange);

  ConnectionContext* context_;
  TcpSocket socket_;
  asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::string remote_, writing_;
  std::shared_ptr<LiveExchange> exchange_;
  Clock::time_point deadline_;
  Phase phase_ = Phase::kIdle;
  bool is_watching_ = false, has_gone_ = false, is_writing_ = false;
};

/// The exchange of a connection. Lives on after the connection, then answers go nowhere.
class LiveExchange : public Exchange, public std::enable_shared_from_this<LiveExchange> {
 public:
  LiveExchange(std::weak_ptr<Connection> connection, ConnectionContext* context,
               HttpRequest request);
  const HttpRequest& request() const override { return request_; }
  ExchangeFacts& facts() override { return facts_; }
  void Post(std::function<void()> fn) override;
  void AddHeader(std::string name, std::string value) override;
  void Reply(HttpReply reply) override;
  void BeginEvents() override;
  bool has_begun_events() const override { return is_events_; }
  void Write(std::string_view text) override;
  void EndEvents(End end) override;
  bool is_over() const override { return is_over_; }
  void OnGone(std::function<void()> fn) override;

 private:
  friend class Connection;
  void AppendHead(int status, std::string_view content_type, std::string_view framing,
                  const std::vector<std::pair<std::string, std::string>>& more);
  void Gone();
  void WakeConnection();
  /// What is to be written now, framed; empty when there is nothing.
  std::string TakeOutput();

  std::weak_ptr<Connection> connection_;
  ConnectionContext* context_;
  asio::io_context::executor_type executor_;
  HttpRequest request_;
  ExchangeFacts facts_;
  std::string extra_headers_, head_, events_;
  std::function<void()> on_gone_;
  Clock::time_point began_, last_write_;
  int status_ = 0;
  int64_t bytes_out_ = 0;
  bool is_events_ = false, is_chunked_ = false, is_over_ = false, is_broken_ = false;
  bool has_gone_ = false, keep_alive_ = true, is_http10_ = false, is_head_ = false;
  bool end_mark_due_ = false;
};

}  // namespace mixtral::server

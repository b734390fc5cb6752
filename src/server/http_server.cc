// SPDX-License-Identifier: Apache-2.0
// The acceptor, the clock that enforces deadlines, signals, and the way down.
#include "server/http_server.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <list>
#include <utility>

#include "base/log.h"
#include "server/connection.h"

namespace mixtral::server {
namespace {

using boost::system::error_code;
constexpr auto kTick = std::chrono::milliseconds(200);
constexpr int kBacklog = 1024;

/// To a connection that there is no room for.
std::string FullReply() {
  const std::string body = ErrorBody(
      HttpError(503, "the server has no room for another connection"), ErrorStyle::kOpenAi);
  return fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
      "Retry-After: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
      body.size(), body);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpLimits& limits, Handler handler, AccessSink access)
      : io_(1), acceptor_(io_), signals_(io_), ticker_(io_), pause_(io_), after_(io_) {
    context_.io = &io_;
    context_.limits = limits;
    context_.handler = std::move(handler);
    context_.access = std::move(access);
  }

  int Listen(const std::string& host, int port) {
    error_code error;
    const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
    if (error)
      Throw(ErrorCode::kInvalidArgument,
            "host: expected a numeric address or localhost, found '{}'", host);
    const asio::ip::tcp::endpoint endpoint(address, static_cast<uint16_t>(port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kBacklog, error);
    if (error) Throw(ErrorCode::kIo, "listen on {} port {}: {}", host, port, error.message());
    return acceptor_.local_endpoint().port();
  }

  void OnSignal(std::function<void(int)> fn) {
    on_signal_ = std::move(fn);
    signals_.add(SIGTERM);
    signals_.add(SIGINT);
    WaitForSignal();
  }

  void Run() {
    asio::co_spawn(io_, Accept(), asio::detached);
    asio::co_spawn(io_, Tick(), asio::detached);
    io_.run();
    // Answers that did not end in time: their exchanges and what makes them hold each other.
    for (const auto& weak : connections_)
      if (const auto connection = weak.lock()) connection->Close();
    error_code ignored;
    signals_.clear(ignored);  // from here on a signal ends the process
  }

  void Post(std::function<void()> fn) { asio::post(io_, std::move(fn)); }
  void Stop() { io_.stop(); }

  void After(double seconds, std::function<void()> fn) {
    after_.expires_after(
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
    after_.async_wait([fn = std::move(fn)](const error_code& error) {
      if (!error) fn();
    });
  }

  void StopAccepting(std::function<void()> on_idle) {
    error_code ignored;
    acceptor_.close(ignored);
    context_.is_draining = true;
    on_idle_ = std::move(on_idle);
    for (const auto& weak : connections_)
      if (const auto connection = weak.lock()) connection->CloseIfIdle();
  }

  int n_connections() const { return n_connections_; }

 private:
  void WaitForSignal() {
    signals_.async_wait([this](const error_code& error, int signal) {
      if (error) return;
      on_signal_(signal);
      WaitForSignal();
    });
  }

  asio::awaitable<void> Accept() {
    while (acceptor_.is_open()) {
      error_code error;
      TcpSocket socket(io_);
      co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
      if (!error) {
        Admit(std::move(socket));
      } else if (error != asio::error::operation_aborted) {
        Log(LogLevel::kWarn, "accepting a connection: {}", error.message());
        pause_.expires_after(kTick);  // out of descriptors, most likely
        co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      }
    }
  }

  void Admit(TcpSocket socket) {
    if (n_connections_ >= context_.limits.max_connections) {
      error_code ignored;
      socket.write_some(asio::buffer(FullReply()), ignored);
      socket.shutdown(TcpSocket::shutdown_both, ignored);
      return;
    }
    ++n_connections_;
    const auto connection = std::make_shared<Connection>(&context_, std::move(socket));
    const auto place = connections_.insert(connections_.end(), connection);
    asio::co_spawn(io_, connection->Run(), [this, place](const std::exception_ptr& failure) {
      connections_.erase(place);
      --n_connections_;
      if (failure) LogFailure(failure);
    });
  }

  static void LogFailure(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "a connection failed: {}", error.what());
    }
  }

  asio::awaitable<void> Tick() {
    for (;;) {
      error_code error;
      ticker_.expires_after(kTick);
      co_await ticker_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      const auto now = Clock::now();
      bool is_idle = true;
      for (const auto& weak : connections_) {
        const auto connection = weak.lock();
        if (connection == nullptr) continue;
        connection->Tick(now);
        is_idle = is_idle && !connection->is_answering();
      }
      if (is_idle && on_idle_) std::exchange(on_idle_, nullptr)();
    }
  }

  asio::io_context io_;
  asio::ip::tcp::acceptor acceptor_;
  asio::signal_set signals_;
  asio::steady_timer ticker_, pause_, after_;
  ConnectionContext context_;
  std::list<std::weak_ptr<Connection>> connections_;
  int n_connections_ = 0;
  std::function<void(int)> on_signal_;
  std::function<void()> on_idle_;
};

HttpServer::HttpServer(const HttpLimits& limits, Handler handler, AccessSink access)
    : impl_(std::make_unique<Impl>(limits, std::move(handler), std::move(access))) {}
HttpServer::~HttpServer() = default;

int HttpServer::Listen(const std::string& host, int port) { return impl_->Listen(host, port); }
void HttpServer::OnSignal(std::function<void(int)> fn) { impl_->OnSignal(std::move(fn)); }
void HttpServer::Run() { impl_->Run(); }
void HttpServer::Post(std::function<void()> fn) { impl_->Post(std::move(fn)); }
void HttpServer::Stop() { impl_->Stop(); }
void HttpServer::After(double seconds, std::function<void()> fn) {
  impl_->After(seconds, std::move(fn));
}
void HttpServer::StopAccepting(std::function<void()> on_idle) {
  impl_->StopAccepting(std::move(on_idle));
}
int HttpServer::n_connections() const { return impl_->n_connections(); }

}  // namespace mixtral::server

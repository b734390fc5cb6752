// SPDX-License-Identifier: Apache-2.0
// How answers are framed: heads, chunks, the bounded buffer of an event stream.
#include <boost/asio/post.hpp>

#include "server/connection.h"

namespace mixtral::server {
namespace {

/// A header's value on one line, whatever it was made from.
std::string OneLine(std::string_view value) {
  std::string line;
  for (const char c : value) line += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  return line;
}

}  // namespace

LiveExchange::LiveExchange(std::weak_ptr<Connection> connection, ConnectionContext* context,
                           HttpRequest request)
    : connection_(std::move(connection)),
      context_(context),
      executor_(context->io->get_executor()),
      request_(std::move(request)),
      began_(Clock::now()),
      last_write_(began_) {}

void LiveExchange::Post(std::function<void()> fn) { asio::post(executor_, std::move(fn)); }

void LiveExchange::AddHeader(std::string name, std::string value) {
  extra_headers_ += name + ": " + OneLine(value) + "\r\n";
}

void LiveExchange::AppendHead(int status, std::string_view content_type, std::string_view framing,
                              const std::vector<std::pair<std::string, std::string>>& more) {
  status_ = status;
  if (context_->is_draining) keep_alive_ = false;
  head_ += fmt::format("HTTP/1.1 {} {}\r\n", status, StatusText(status));
  if (!content_type.empty()) head_ += fmt::format("Content-Type: {}\r\n", content_type);
  head_ += framing;
  if (!keep_alive_)
    head_ += "Connection: close\r\n";
  else if (is_http10_)
    head_ += "Connection: keep-alive\r\n";
  head_ += extra_headers_;
  for (const auto& [name, value] : more) head_ += name + ": " + OneLine(value) + "\r\n";
  head_ += "\r\n";
}

void LiveExchange::Reply(HttpReply reply) {
  if (is_over_ || is_events_) return;
  const std::string framing =
      reply.status == 204 ? "" : fmt::format("Content-Length: {}\r\n", reply.body.size());
  AppendHead(reply.status, reply.content_type, framing, reply.headers);
  if (!is_head_) events_ += reply.body;
  is_over_ = true;
  on_gone_ = nullptr;  // it may hold us
  WakeConnection();
}

void LiveExchange::BeginEvents() {
  if (is_over_ || is_events_) return;
  is_events_ = true;
  is_chunked_ = !is_http10_;
  if (is_http10_) keep_alive_ = false;
  AppendHead(200, "text/event-stream; charset=utf-8",
             is_chunked_ ? "Transfer-Encoding: chunked\r\n" : "",
             {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
  WakeConnection();
}

void LiveExchange::Write(std::string_view text) {
  if (is_over_ || !is_events_) return;
  events_ += text;
  const auto connection = connection_.lock();
  if (events_.size() > context_->limits.output_bytes && connection != nullptr)
    return connection->Close();  // its reader is too slow
  WakeConnection();
}

void LiveExchange::EndEvents(End end) {
  if (is_over_ || !is_events_) return;
  is_over_ = true;
  on_gone_ = nullptr;
  is_broken_ = end == End::kBroken;
  if (is_broken_) keep_alive_ = false;
  end_mark_due_ = is_chunked_ && !is_broken_;
  WakeConnection();
}

std::string LiveExchange::TakeOutput() {
  std::string out;
  out.swap(head_);
  if (!events_.empty()) {
    if (is_chunked_) out += fmt::format("{:x}\r\n", events_.size());
    out += events_;
    if (is_chunked_) out += "\r\n";
    events_.clear();
  }
  if (is_over_ && end_mark_due_) {
    out += "0\r\n\r\n";
    end_mark_due_ = false;
  }
  if (!out.empty()) last_write_ = Clock::now();
  bytes_out_ += std::ssize(out);
  return out;
}

void LiveExchange::OnGone(std::function<void()> fn) {
  if (has_gone_) return fn();
  if (!is_over_) on_gone_ = std::move(fn);
}

void LiveExchange::Gone() {
  if (has_gone_) return;
  has_gone_ = true;
  const bool was_over = is_over_;
  is_over_ = true;
  const std::function<void()> fn = std::move(on_gone_);
  on_gone_ = nullptr;
  if (fn && !was_over) fn();
}

void LiveExchange::WakeConnection() {
  if (const auto connection = connection_.lock()) connection->Wake();
}

}  // namespace mixtral::server

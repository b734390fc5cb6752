// SPDX-License-Identifier: Apache-2.0
// posix_spawn with three pipes and a poll loop.
#include "e2e/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "base/check.h"

extern char** environ;

namespace mixtral::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kDeadline = std::chrono::seconds(120);
constexpr int kStalledPipeBytes = 4096;  // the smallest pipe that Linux makes
constexpr int kStalledPipeRoom = 12;

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    Check(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    read_end = ends[0];
    write_end = ends[1];
  }
};

void CloseOnce(int* descriptor) {
  if (*descriptor >= 0) close(*descriptor);
  *descriptor = -1;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// in, out, err: descriptors for the child; out may be -1 (closed).
pid_t Spawn(const Start& start, int in, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  if (out >= 0)
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  else
    posix_spawn_file_actions_addclose(&actions, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> arguments = {MIXTRAL_BINARY};
  arguments.insert(arguments.end(), start.arguments.begin(), start.arguments.end());
  std::vector<std::string> environment = start.environment;
  environment.push_back("XDG_CONFIG_HOME=/nonexistent");  // not the config file of who tests
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, MIXTRAL_BINARY, &actions, &attributes,
                                Pointers(arguments).data(), Pointers(environment).data());
  Check(error == 0, "the mixtral binary cannot be started");
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return pid;
}

/// Reads what is there; closes the descriptor at its end.
void ReadSome(int* descriptor, std::string* text) {
  char buffer[65536];
  const ssize_t n = read(*descriptor, buffer, sizeof(buffer));
  if (n > 0)
    text->append(buffer, static_cast<size_t>(n));
  else
    CloseOnce(descriptor);
}

void WriteSome(int* descriptor, std::string_view* text) {
  const ssize_t n = write(*descriptor, text->data(), std::min<size_t>(text->size(), 4096));
  if (n > 0) text->remove_prefix(static_cast<size_t>(n));
  if (n <= 0 || text->empty()) CloseOnce(descriptor);
}

/// Feeds and reads until the child has closed its streams, then waits for its end.
Finished Attend(pid_t pid, std::string_view input, int in, int out, int err) {
  Finished finished;
  const auto deadline = Clock::now() + kDeadline;
  if (input.empty()) CloseOnce(&in);
  while (out >= 0 || err >= 0) {
    pollfd polled[] = {{in, POLLOUT, 0}, {out, POLLIN, 0}, {err, POLLIN, 0}};
    poll(polled, 3, 1000);
    if (Clock::now() > deadline) kill(pid, SIGKILL);
    if (in >= 0 && polled[0].revents != 0) WriteSome(&in, &input);
    if (out >= 0 && polled[1].revents != 0) ReadSome(&out, &finished.out);
    if (err >= 0 && polled[2].revents != 0) ReadSome(&err, &finished.err);
  }
  CloseOnce(&in);
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status)) finished.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) finished.signal = WTERMSIG(status);
  return finished;
}

}  // namespace

Finished RunProcess(const Start& start) {
  signal(SIGPIPE, SIG_IGN);  // a child need not read its input
  Pipe in, out, err;
  int child_out = out.write_end;
  if (start.stdout_to == StdoutTo::kClosed) child_out = -1;
  if (start.stdout_to == StdoutTo::kFullDisk) child_out = open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (start.stdout_to == StdoutTo::kReaderGone) CloseOnce(&out.read_end);
  const pid_t pid = Spawn(start, in.read_end, child_out, err.write_end);
  if (start.stdout_to == StdoutTo::kFullDisk) close(child_out);
  CloseOnce(&in.read_end);
  CloseOnce(&out.write_end);
  CloseOnce(&err.write_end);
  return Attend(pid, start.input, in.write_end, out.read_end, err.read_end);
}

Finished Mixtral(const std::vector<std::string>& arguments, const std::string& input) {
  return RunProcess({.arguments = arguments, .input = input, .environment = {}});
}

StalledChild::StalledChild(const std::vector<std::string>& arguments, const std::string& input) {
  signal(SIGPIPE, SIG_IGN);
  Pipe in, out, err;
  fcntl(out.write_end, F_SETPIPE_SZ, kStalledPipeBytes);
  const std::string filling(kStalledPipeBytes - kStalledPipeRoom, '#');
  Check(write(out.write_end, filling.data(), filling.size()) == std::ssize(filling), "fill a pipe");
  pid_ = Spawn({.arguments = arguments, .input = "", .environment = {}}, in.read_end, out.write_end,
               err.write_end);
  CloseOnce(&in.read_end);
  Check(write(in.write_end, input.data(), input.size()) == std::ssize(input), "feed a pipe");
  CloseOnce(&in.write_end);
  CloseOnce(&out.write_end);
  CloseOnce(&err.write_end);
  out_ = out.read_end;
  err_ = err.read_end;
}

StalledChild::~StalledChild() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  CloseOnce(&out_);
  CloseOnce(&err_);
}

bool StalledChild::WaitUntilStalled() const {
  constexpr int kQuietRounds = 30;  // of 10 ms: a step of a tiny model takes far less
  int waiting = 0, quiet_rounds = 0;
  for (int round = 0; round < 3000 && quiet_rounds < kQuietRounds; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const int before = waiting;
    ioctl(out_, FIONREAD, &waiting);
    const bool has_written = waiting > kStalledPipeBytes - kStalledPipeRoom;
    quiet_rounds = has_written && waiting == before ? quiet_rounds + 1 : 0;
  }
  return quiet_rounds == kQuietRounds;
}

/// Gives the signal time to meet the write that stands still, before anybody reads on.
void StalledChild::Send(int signal) const {
  kill(pid_, signal);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

Finished StalledChild::Finish() {
  Finished finished = Attend(pid_, "", -1, out_, err_);
  pid_ = out_ = err_ = -1;
  const size_t filling = kStalledPipeBytes - kStalledPipeRoom;
  finished.out.erase(0, std::min(filling, finished.out.size()));
  return finished;
}

std::string ShippedModel() { return MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf"; }

std::string RefusalProblem(const Finished& run, int exit_code, const std::string& text) {
  std::ostringstream problem;
  if (run.exit_code != exit_code)
    problem << "exit code " << run.exit_code << " (signal " << run.signal << ") and not "
            << exit_code << "; ";
  if (!run.out.empty()) problem << "printed '" << run.out << "'; ";
  if (!run.err.starts_with("mixtral: ") || run.err.find('\n') != run.err.size() - 1)
    problem << "not one line; ";
  if (run.err.find(text) == std::string::npos) problem << "'" << text << "' is not in it; ";
  return problem.str().empty() ? "" : problem.str() + "message: " + run.err;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Check(file.good(), "a test's file is missing");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  Check(file.good(), "a test's file cannot be written");
}

std::vector<TokenId> ParseIds(const std::string& line) {
  std::vector<TokenId> ids;
  std::istringstream stream(line);
  for (std::string number; std::getline(stream, number, ',');) ids.push_back(std::stoi(number));
  return ids;
}

}  // namespace mixtral::testing

// SPDX-License-Identifier: Apache-2.0
// The parent side: pipes, the clock, and what the news of the child mean.
#include "eval/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "eval/sandbox_process.h"

namespace mixtral::eval {
namespace {

using Clock = std::chrono::steady_clock;

// Reads the program from standard input, so that it is at its end when the program reads it, and
// runs it as the published harnesses do, without a __main__. The last line runs only if the
// program came to its end; its word is another one every time.
constexpr std::string_view kWrapper =
    "import os, sys\n"
    "source = sys.stdin.read()\n"
    "exec(compile(source, 'program', 'exec'), {})\n"
    "sys.stdout.flush()\n"
    "os.write(3, b'WORD')\n";

// Attempts what must fail. Prints the first thing that did not.
constexpr std::string_view kProof = R"(
import os, socket
def attempt(what, action):
    try:
        action()
    except (OSError, PermissionError):
        return
    raise SystemExit(what)
attempt('reads /etc/passwd', lambda: open('/etc/passwd').read())
attempt('lists /proc', lambda: os.listdir('/proc'))
attempt('lists /home', lambda: os.listdir('/home'))
attempt('lists /root', lambda: os.listdir('/root'))
attempt('writes in /', lambda: open('/file', 'w'))
attempt('writes in /usr', lambda: open('/usr/file', 'w'))
attempt('opens a socket', lambda: socket.socket())
attempt('starts a process', lambda: os.fork())
attempt('becomes root', lambda: os.setuid(0))
if os.getppid() != 1:
    raise SystemExit('sees other processes')
open('/tmp/file', 'w').write('x')
)";

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { Close(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

/// Standard streams may be closed, and the child puts its own there: descriptors start above them.
Fd Lifted(int fd, const char* what) {
  if (fd < 0) Throw(ErrorCode::kIo, "code sandbox: cannot make {}: {}", what, strerror(errno));
  Fd low(fd);
  Fd high(fcntl(fd, F_DUPFD_CLOEXEC, 10));
  if (high.get() < 0)
    Throw(ErrorCode::kIo, "code sandbox: cannot make {}: {}", what, strerror(errno));
  return high;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends = {};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
      Throw(ErrorCode::kIo, "code sandbox: cannot make a pipe: {}", strerror(errno));
    Fd spare(ends[1]);
    read_end = Lifted(ends[0], "a pipe");
    write_end = Lifted(dup(spare.get()), "a pipe");
  }
  Fd read_end, write_end;
};

Fd MemoryFile(std::string_view text) {
  Fd file = Lifted(memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING), "a file in memory");
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(file.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) Throw(ErrorCode::kIo, "code sandbox: cannot write a program: {}", strerror(errno));
    at += static_cast<size_t>(n);
  }
  lseek(file.get(), 0, SEEK_SET);
  fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  return file;
}

struct Stream {
  int fd;
  std::string* text;
  size_t max_bytes;
  bool is_open = true;
};

/// Reads what is there; beyond max_bytes it is dropped.
void Drain(Stream& stream) {
  std::array<char, 16384> piece = {};
  const ssize_t n = read(stream.fd, piece.data(), piece.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    stream.is_open = false;
    return;
  }
  const size_t room = stream.max_bytes - stream.text->size();
  stream.text->append(piece.data(), std::min(room, static_cast<size_t>(n)));
}

/// Until every stream has ended or the deadline is over; true: they ended.
bool DrainAll(std::span<Stream> streams, Clock::time_point deadline) {
  for (;;) {
    std::vector<pollfd> waiting;
    for (const Stream& stream : streams)
      if (stream.is_open) waiting.push_back({.fd = stream.fd, .events = POLLIN, .revents = 0});
    if (waiting.empty()) return true;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    if (poll(waiting.data(), waiting.size(), static_cast<int>(std::min<int64_t>(left, 60000))) < 0)
      continue;
    for (const pollfd& one : waiting)
      for (Stream& stream : streams)
        if (one.revents != 0 && stream.fd == one.fd) Drain(stream);
  }
}

std::string_view StageName(SandboxStage stage) {
  switch (stage) {
    case SandboxStage::kBecomeNobody:
      return "give up root";
    case SandboxStage::kNamespaces:
      return "make user, mount, process and network namespaces";
    case SandboxStage::kUserMap:
      return "map its user";
    case SandboxStage::kProcess:
      return "start a process";
    case SandboxStage::kMounts:
      return "build a root folder of its own";
    case SandboxStage::kRoot:
      return "enter its root folder";
    case SandboxStage::kCapabilities:
      return "drop its capabilities";
    case SandboxStage::kLimits:
      return "set its limits";
    case SandboxStage::kFilter:
      return "install the system call filter";
    case SandboxStage::kPython:
      return "start Python";
    case SandboxStage::kDone:
      break;
  }
  return "";
}

/// What the news of an ended child mean. Throws when Python was not started.
void Read(std::string_view news, ProgramResult* result) {
  SandboxNews message = {};
  if (news.size() != sizeof(message))
    Throw(ErrorCode::kUnsupported, "code sandbox: its processes ended before Python started");
  std::memcpy(&message, news.data(), sizeof(message));
  if (message.stage != SandboxStage::kDone)
    Throw(ErrorCode::kUnsupported,
          "code sandbox: the kernel does not let this program {} ({}): nothing was run",
          StageName(message.stage), strerror(message.detail));
  if (!WIFSIGNALED(message.detail)) return;
  result->end = ProgramEnd::kKilled;
  result->signal = WTERMSIG(message.detail);
}

std::string RandomWord() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

Sandbox::Sandbox(const SandboxLimits& limits, std::string python)
    : limits_(limits), python_(std::move(python)), filter_(MakeSyscallFilter()) {
  if (!python_.starts_with("/usr/"))
    Throw(ErrorCode::kInvalidArgument, "code sandbox: expected a Python under /usr, found \"{}\"",
          python_);
  Prove();
}

void Sandbox::Prove() const {
  // A first start reads Python from disk: it gets the time for that.
  Sandbox prover = *this;
  prover.set_seconds(std::max(limits_.seconds, 60.0));
  const ProgramResult result = prover.Run(kProof);
  if (result.end != ProgramEnd::kFinished)
    Throw(ErrorCode::kInternal, "code sandbox: the isolation does not hold on this machine: {}",
          result.output.empty() ? "the test program was ended" : Printable(result.output, 200));
}

ProgramResult Sandbox::Run(std::string_view source) const {
  const std::string word = RandomWord();
  std::string wrapper(kWrapper);
  wrapper.replace(wrapper.find("WORD"), 4, word);
  const Fd program = MemoryFile(source);
  Pipe output, report, news;
  const bool is_root = geteuid() == 0;
  const SandboxPlan plan = {
      .limits = &limits_,
      .filter = &filter_,
      .arguments = {python_.c_str(), "-s", "-B", "-c", wrapper.c_str(), nullptr},
      .environment = {"PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/tmp", "TMPDIR=/tmp",
                      "PYTHONHASHSEED=0", "PYTHONIOENCODING=utf-8:replace", nullptr},
      .parent_pid = getpid(),
      .is_root = is_root,
      .user_map = fmt::format("65534 {} 1", is_root ? 65534 : geteuid()),
      .group_map = fmt::format("65534 {} 1", is_root ? 65534 : getegid()),
      .scratch_options = fmt::format("size={},nr_inodes=4096,mode=700", limits_.file_bytes),
      .program_fd = program.get(),
      .output_fd = output.write_end.get(),
      .report_fd = report.write_end.get(),
      .news_fd = news.write_end.get()};
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(limits_.seconds));
  const pid_t child = fork();
  if (child < 0) Throw(ErrorCode::kIo, "code sandbox: cannot start a process: {}", strerror(errno));
  if (child == 0) RunSandboxChild(plan);
  for (Pipe* pipe : {&output, &report, &news}) pipe->write_end.Close();

  ProgramResult result;
  std::string said, told;
  std::array<Stream, 3> streams = {
      {{.fd = output.read_end.get(), .text = &result.output, .max_bytes = limits_.output_bytes},
       {.fd = report.read_end.get(), .text = &said, .max_bytes = word.size() + 1},
       {.fd = news.read_end.get(), .text = &told, .max_bytes = sizeof(SandboxNews)}}};
  const bool is_in_time = DrainAll(streams, deadline);
  if (!is_in_time) {
    // The outer process takes the others with it; the pipes end when all are gone.
    kill(child, SIGKILL);
    DrainAll(streams, Clock::time_point::max());
    result.end = ProgramEnd::kTimedOut;
  }
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (is_in_time) Read(told, &result);
  if (said == word) result.end = ProgramEnd::kFinished;  // what threads did later does not count
  return result;
}

}  // namespace mixtral::eval

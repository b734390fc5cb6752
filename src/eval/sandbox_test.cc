// SPDX-License-Identifier: Apache-2.0
// Hostile programs. Skipped with the sandbox's own reason where the kernel gives no isolation.
#include "eval/sandbox.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "eval/test_sandbox.h"

namespace mixtral::eval {
namespace {

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    sandbox_ = PatientSandbox(&why_not);
    if (!sandbox_) GTEST_SKIP() << why_not;
  }

  void ExpectFinished(std::string_view source) {
    const ProgramResult result = sandbox_->Run(source);
    EXPECT_EQ(result.end, ProgramEnd::kFinished) << result.output;
  }
  /// Asserts that the attempts raise OSError or what else is named.
  void ExpectDenied(std::string_view source, std::string_view exception = "OSError") {
    const ProgramResult result = sandbox_->Run(
        fmt::format("import os, socket, subprocess, threading\ntry:\n  {}\nexcept {} as e:\n  "
                    "print('denied', e)\nelse:\n  print('done')\n",
                    source, exception));
    EXPECT_EQ(result.output.substr(0, 6), "denied") << source << "\n" << result.output;
  }

  std::optional<Sandbox> sandbox_;
};

TEST_F(SandboxTest, RunsAProgramToItsEnd) {
  const ProgramResult result = sandbox_->Run("print('hello')\nassert sum([1, 2]) == 3\n");
  EXPECT_EQ(result.end, ProgramEnd::kFinished);
  EXPECT_EQ(result.output, "hello\n");
}

TEST_F(SandboxTest, KeepsItsFolderToItselfAndEmpty) {
  const std::string check =
      "import os, tempfile\nassert os.getcwd() == '/tmp' and os.listdir('/tmp') == []\n"
      "open('a', 'w').write('x')\nwith tempfile.TemporaryFile() as f: f.write(b'y')\n";
  ExpectFinished(check);
  ExpectFinished(check);
}

TEST_F(SandboxTest, AnExceptionOrAnExitIsNoEnd) {
  const ProgramResult failed = sandbox_->Run("assert 1 + 1 == 3, 'sum'\n");
  EXPECT_EQ(failed.end, ProgramEnd::kStopped);
  EXPECT_NE(failed.output.find("AssertionError: sum"), std::string::npos) << failed.output;
  for (const char* source : {"import sys; sys.exit(0)", "import os; os._exit(0)", "exit()",
                             "def f(:", "import os; os.write(3, b'1234567890abcdef'); os._exit(0)"})
    EXPECT_EQ(sandbox_->Run(source).end, ProgramEnd::kStopped) << source;
}

TEST_F(SandboxTest, StandardInputIsAtItsEndAndNameIsNotMain) {
  EXPECT_NE(sandbox_->Run("input()").output.find("EOFError"), std::string::npos);
  ExpectFinished("assert __name__ == 'builtins'\n");
}

TEST_F(SandboxTest, AnEndlessLoopTimesOut) {
  const Sandbox brief = [&] {
    Sandbox copy = *sandbox_;
    copy.set_seconds(0.5);
    return copy;
  }();
  EXPECT_EQ(brief.Run("while True: pass").end, ProgramEnd::kTimedOut);
  EXPECT_EQ(brief.Run("import time\ntime.sleep(1000)").end, ProgramEnd::kTimedOut);
  EXPECT_EQ(
      brief
          .Run("import signal, os\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)"
               "\n  except OSError: pass\nwhile True: pass")
          .end,
      ProgramEnd::kTimedOut);
  // Output without end is dropped, not kept.
  const ProgramResult loud = brief.Run("while True: print('x' * 1000)");
  EXPECT_EQ(loud.end, ProgramEnd::kTimedOut);
  EXPECT_LE(loud.output.size(), size_t{64} << 10);
}

TEST_F(SandboxTest, ABombOfProcessesFindsNone) {
  ExpectDenied("os.fork()");
  ExpectDenied("subprocess.run(['/usr/bin/true'])");
  ExpectDenied("os.posix_spawn('/usr/bin/true', ['true'], {})");
  // Small stacks, so that the limit of threads is met and not that of memory.
  ExpectDenied(
      "threading.stack_size(65536); [threading.Thread(target=threading.Event().wait, "
      "daemon=True).start() for i in range(99)]",
      "RuntimeError");
  ExpectFinished("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n");
}

TEST_F(SandboxTest, ABombOfMemoryMeetsTheLimit) {
  ExpectDenied("bytearray(600 << 20)", "MemoryError");
  ExpectDenied("x = [bytearray(1 << 20) for i in range(600)]", "MemoryError");
  ExpectDenied("os.memfd_create('x')");
  ExpectFinished("x = bytearray(100 << 20)");
}

TEST_F(SandboxTest, FilesMeetTheLimit) {
  ExpectDenied("open('/tmp/a', 'wb').write(bytes(17 << 20))");
  ExpectDenied("[open('/tmp/%d' % i, 'wb').write(bytes(1 << 20)) for i in range(17)]");
  ExpectDenied("[open('/tmp/%d' % i, 'wb') for i in range(9999)]");
  ExpectFinished("open('/tmp/a', 'wb').write(bytes(8 << 20))");
}

TEST_F(SandboxTest, WritesNowhereElse) {
  const std::string outside = std::filesystem::temp_directory_path() / "mixtral-sandbox-test";
  for (const std::string& path :
       {std::string("/x"), std::string("/usr/x"), std::string("/usr/lib/x"), std::string("/lib/x"),
        std::string("/dev/x"), std::string("/etc/x"), std::string("/tmp/../x"),
        std::string("/proc/x")})
    ExpectDenied(fmt::format("open('{}', 'w')", path));
  ExpectDenied("os.chmod('/usr/bin/python3.11', 0o777)");
  ExpectDenied("os.unlink('/usr/bin/python3')");
  ExpectDenied("os.mkdir('/new')");
  // Not for want of rights alone.
  ExpectFinished(
      "import os\nfor p in ('/', '/usr', '/lib', '/lib64'):\n"
      "  assert os.statvfs(p).f_flag & os.ST_RDONLY, p");
  // Its /tmp is not the machine's.
  sandbox_->Run(fmt::format("open('{}', 'w').write('x')", outside));
  EXPECT_FALSE(std::filesystem::exists(outside));
}

TEST_F(SandboxTest, ReadsNothingOfTheMachine) {
  for (const char* path : {"/etc/passwd", "/etc/shadow", "/etc/hostname", "/proc/self/environ",
                           "/proc/1/environ", "/sys/kernel/version"})
    ExpectDenied(fmt::format("open('{}').read()", path));
  for (const char* path : {"/home", "/root", "/etc", "/proc", "/sys", "/var", "/opt"})
    ExpectDenied(fmt::format("os.listdir('{}')", path));
  ExpectFinished("import os\nassert set(os.listdir('/')) <= {'dev', 'lib', 'lib64', 'tmp', 'usr'}");
  setenv("MIXTRAL_TEST_SECRET", "secret", 1);
  ExpectFinished(
      "import os\nassert 'MIXTRAL_TEST_SECRET' not in os.environ and 'USER' not in os.environ");
  unsetenv("MIXTRAL_TEST_SECRET");
}

TEST_F(SandboxTest, FilesThatTheProgramHadOpenAreClosed) {
  std::ifstream open_file("/etc/hostname");
  const int pipe_end = dup(2);
  ExpectFinished(
      "import os\nfor fd in range(4, 64):\n  try: os.fstat(fd)\n  except OSError: continue\n  "
      "assert False, fd");
  close(pipe_end);
}

TEST_F(SandboxTest, ReachesNoNetwork) {
  ExpectDenied("socket.socket(socket.AF_INET, socket.SOCK_STREAM)");
  ExpectDenied("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)");
  ExpectDenied("socket.socket(socket.AF_UNIX)");
  ExpectDenied("socket.create_connection(('127.0.0.1', 80))");
  ExpectDenied("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)");
}

TEST_F(SandboxTest, KillsNobody) {
  ExpectFinished("import os\nassert os.getppid() == 1 and os.getpid() == 2");
  // Its process 1 is deaf, and the numbers of the machine's processes name nothing.
  ExpectFinished("import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)\nos.kill(1, 19)");
  ExpectDenied(fmt::format("os.kill({}, 9)", getpid()), "ProcessLookupError");
  ExpectDenied(fmt::format("os.kill({}, 0)", getppid()), "ProcessLookupError");
  sandbox_->Run("import os\nos.kill(-1, 9)");
  const ProgramResult suicide = sandbox_->Run("import os\nos.kill(os.getpid(), 9)");
  EXPECT_EQ(suicide.end, ProgramEnd::kKilled);
  EXPECT_EQ(suicide.signal, SIGKILL);
  EXPECT_EQ(sandbox_->Run("import ctypes\nctypes.string_at(0)").signal, SIGSEGV);
}

TEST_F(SandboxTest, GainsNoRights) {
  ExpectDenied("os.setuid(0)");
  ExpectDenied("os.setgid(0)");
  ExpectDenied("os.setgroups([])");
  ExpectDenied("os.chroot('/tmp')");
  ExpectDenied("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))");
  ExpectFinished(
      "import resource\nfor r in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, "
      "resource.RLIMIT_CPU):\n"
      "  try: resource.setrlimit(r, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
      "  except (ValueError, PermissionError): continue\n  assert False, r");
  // unshare, mount, bpf and ptrace by number: EPERM from the filter, whatever the rights.
  ExpectFinished(
      "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfor n in (272, 165, 321, 101, 425, "
      "56):\n"
      "  assert libc.syscall(n, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1, n");
}

TEST_F(SandboxTest, RefusesAPythonThatItCannotShow) {
  EXPECT_THROW(Sandbox({}, "python3"), Error);
  EXPECT_THROW(Sandbox({}, "/opt/python3"), Error);
  try {
    Sandbox({}, "/usr/bin/no-such-python");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("start Python"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace mixtral::eval

// SPDX-License-Identifier: Apache-2.0
// Three processes: the outer one makes the namespaces and waits, so that killing it ends all; the
// inner one is process 1 of the new process namespace, builds the root folder and waits; the third
// limits itself and becomes Python.
#include "eval/sandbox_process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

namespace mixtral::eval {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kReportFd = 3;           // where the program's wrapper says that its end was reached
constexpr rlim_t kOtherProcesses = 3;  // the outer, the inner and Python itself count as threads

void Tell(const SandboxPlan& plan, SandboxStage stage, int32_t detail) {
  const SandboxNews news = {.stage = stage, .detail = detail};
  // At most a pipe's atomic size, so it is written whole or not at all.
  [[maybe_unused]] const ssize_t n = write(plan.news_fd, &news, sizeof(news));
}

/// Tells of a failed call and ends the process.
void Must(bool is_done, const SandboxPlan& plan, SandboxStage stage) {
  if (is_done) return;
  Tell(plan, stage, errno);
  _exit(1);
}

bool WriteWhole(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const size_t size = strlen(text);
  const bool is_done = write(fd, text, size) == static_cast<ssize_t>(size);
  const int error = errno;
  close(fd);
  errno = error;
  return is_done;
}

/// Real root is given up before anything else; "dumpable" again, or the kernel would not let it
/// write its own user map.
bool BecomeNobody() {
  return setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0 &&
         setresuid(kNobody, kNobody, kNobody) == 0 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

bool AddMountFlags(const char* path, uint64_t flags, unsigned int at_flags) {
  mount_attr attributes = {};
  attributes.attr_set = flags;
  return mount_setattr(AT_FDCWD, path, at_flags, &attributes, sizeof(attributes)) == 0;
}

/// The machine's folder, read-only, under the same name below the current folder; a link stays a
/// link; what is not there is left out.
bool ShowFolder(const char* path) {
  struct stat info = {};
  if (lstat(path, &info) != 0) return errno == ENOENT;
  const char* here = path + 1;
  if (S_ISLNK(info.st_mode)) {
    std::array<char, 256> target = {};
    return readlink(path, target.data(), target.size() - 1) > 0 &&
           symlink(target.data(), here) == 0;
  }
  return mkdir(here, 0755) == 0 && mount(path, here, nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
         AddMountFlags(here, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                       AT_RECURSIVE);
}

bool ShowDevice(const char* path) {
  const int fd = open(path + 1, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  return fd >= 0 && close(fd) == 0 && mount(path, path + 1, nullptr, MS_BIND, nullptr) == 0;
}

/// A small file system of its own over /tmp, which every machine has, takes /'s place.
bool BuildRoot(const SandboxPlan& plan) {
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("root", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755") == 0 &&
         chdir("/tmp") == 0 && ShowFolder("/usr") && ShowFolder("/lib") && ShowFolder("/lib64") &&
         mkdir("dev", 0755) == 0 && ShowDevice("/dev/null") && ShowDevice("/dev/urandom") &&
         mkdir("tmp", 0700) == 0 &&
         mount("scratch", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, plan.scratch_options.c_str()) == 0;
}

bool EnterRoot() {
  return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
         AddMountFlags("/", MOUNT_ATTR_RDONLY, 0) && chdir("/tmp") == 0;
}

bool DropCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none = {};
  return syscall(SYS_capset, &header, none.data()) == 0 &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

bool Limit(__rlimit_resource resource, rlim_t value) {
  const rlimit limit = {.rlim_cur = value, .rlim_max = value};
  return setrlimit(resource, &limit) == 0;
}

bool SetLimits(const SandboxLimits& limits) {
  return Limit(RLIMIT_CPU, static_cast<rlim_t>(std::ceil(limits.seconds)) + 1) &&
         Limit(RLIMIT_FSIZE, limits.file_bytes) && Limit(RLIMIT_NOFILE, 64) &&
         Limit(RLIMIT_NPROC, static_cast<rlim_t>(limits.n_threads) + kOtherProcesses) &&
         Limit(RLIMIT_CORE, 0) && Limit(RLIMIT_MEMLOCK, 0) && Limit(RLIMIT_MSGQUEUE, 0) &&
         Limit(RLIMIT_AS, limits.memory_bytes);
}

/// Standard streams and the report in their places; everything else closes when Python starts.
bool PlaceFiles(const SandboxPlan& plan) {
  return dup2(plan.program_fd, STDIN_FILENO) >= 0 && dup2(plan.output_fd, STDOUT_FILENO) >= 0 &&
         dup2(plan.output_fd, STDERR_FILENO) >= 0 && dup2(plan.report_fd, kReportFd) >= 0 &&
         close_range(kReportFd + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

void ResetSignals() {
  for (int signal_id = 1; signal_id < NSIG; ++signal_id) signal(signal_id, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void BecomePython(const SandboxPlan& plan) {
  Must(PlaceFiles(plan) && SetLimits(*plan.limits), plan, SandboxStage::kLimits);
  sock_fprog program = {.len = static_cast<unsigned short>(plan.filter->size()),
                        .filter = const_cast<sock_filter*>(plan.filter->data())};
  Must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0, plan,
       SandboxStage::kFilter);
  execve(plan.arguments[0], const_cast<char* const*>(plan.arguments.data()),
         const_cast<char* const*>(plan.environment.data()));
  Must(false, plan, SandboxStage::kPython);
  _exit(1);
}

bool HasHungUp(int fd) {
  pollfd waiting = {.fd = fd, .events = 0, .revents = 0};
  return poll(&waiting, 1, 0) > 0;
}

/// Process 1. Ends with the outer process, even one that ended before this line.
[[noreturn]] void RunInner(const SandboxPlan& plan, int outer_life_fd) {
  Must(BuildRoot(plan), plan, SandboxStage::kMounts);
  Must(EnterRoot(), plan, SandboxStage::kRoot);
  Must(DropCapabilities(), plan, SandboxStage::kCapabilities);
  Must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, plan, SandboxStage::kProcess);
  if (HasHungUp(outer_life_fd)) _exit(1);
  const pid_t python = fork();
  Must(python >= 0, plan, SandboxStage::kProcess);
  if (python == 0) BecomePython(plan);
  int status = 0;
  pid_t ended = 0;
  do ended = waitpid(python, &status, 0);
  while (ended < 0 && errno == EINTR);
  Tell(plan, SandboxStage::kDone, status);
  _exit(0);
}

}  // namespace

void RunSandboxChild(const SandboxPlan& plan) {
  ResetSignals();
  setsid();
  Must(!plan.is_root || BecomeNobody(), plan, SandboxStage::kBecomeNobody);
  Must(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
               CLONE_NEWUTS | CLONE_NEWCGROUP) == 0,
       plan, SandboxStage::kNamespaces);
  Must(WriteWhole("/proc/self/setgroups", "deny") &&
           WriteWhole("/proc/self/uid_map", plan.user_map.c_str()) &&
           WriteWhole("/proc/self/gid_map", plan.group_map.c_str()),
       plan, SandboxStage::kUserMap);
  // After the changes of identity, which may undo it.
  Must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, plan, SandboxStage::kProcess);
  if (getppid() != plan.parent_pid) _exit(1);
  std::array<int, 2> life = {};
  Must(pipe2(life.data(), O_CLOEXEC) == 0, plan, SandboxStage::kProcess);
  const pid_t inner = fork();
  Must(inner >= 0, plan, SandboxStage::kProcess);
  if (inner == 0) {
    close(life[1]);
    RunInner(plan, life[0]);
  }
  // Only the inner process may hold the pipes open from now on.
  close_range(life[1] + 1, ~0U, 0);
  for (int fd = 0; fd < life[1]; ++fd) close(fd);
  while (waitpid(inner, nullptr, 0) < 0 && errno == EINTR) {
  }
  _exit(0);
}

}  // namespace mixtral::eval

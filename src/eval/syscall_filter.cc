// SPDX-License-Identifier: Apache-2.0
// A list of what is denied, not of what is allowed: Python uses many calls and its next version
// more, and the namespaces, the missing capabilities and the limits are what isolates. Denied is
// what would get around the limits (memory outside the address space, more processes), reach
// the network stack, or open large parts of the kernel that no calculation needs.
#include "eval/syscall_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "base/error.h"

namespace mixtral::eval {

#if defined(__x86_64__)

namespace {

constexpr uint32_t kNumber = offsetof(seccomp_data, nr);
constexpr uint32_t kArchitecture = offsetof(seccomp_data, arch);
constexpr uint32_t kFirstArgument = offsetof(seccomp_data, args);  // its low half comes first
constexpr uint32_t kOtherAbi = 0x40000000;  // x32 numbers, and what no kernel has

constexpr uint32_t Refuse(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }

constexpr std::array kDenied = {
    // Memory that no process's address space shows.
    SYS_memfd_create, SYS_memfd_secret, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_msgget, SYS_semget,
    SYS_mq_open,
    // Other processes.
    SYS_fork, SYS_vfork, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    SYS_pidfd_open, SYS_pidfd_getfd, SYS_process_madvise,
    // Network.
    SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    // Namespaces, mounts, the machine.
    SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_mount_setattr,
    SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_swapon,
    SYS_swapoff, SYS_reboot, SYS_sethostname, SYS_setdomainname, SYS_settimeofday,
    SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_acct, SYS_quotactl, SYS_syslog,
    SYS_iopl, SYS_ioperm, SYS_personality, SYS_lookup_dcookie, SYS_vhangup,
    // Parts of the kernel with a history of holes.
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_io_setup, SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init, SYS_modify_ldt, SYS_vmsplice};

sock_filter Load(uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter Return(uint32_t verdict) { return BPF_STMT(BPF_RET | BPF_K, verdict); }

}  // namespace

SyscallFilter MakeSyscallFilter() {
  SyscallFilter filter;
  // An instruction that runs the next one only if the comparison holds.
  const auto only_if = [&](uint16_t comparison, uint32_t value) {
    const auto code = static_cast<uint16_t>(BPF_JMP | BPF_K | comparison);
    filter.push_back({.code = code, .jt = 0, .jf = 1, .k = value});
  };
  const auto deny = [&](int64_t number, int error) {
    only_if(BPF_JEQ, static_cast<uint32_t>(number));
    filter.push_back(Return(Refuse(error)));
  };
  filter.push_back(Load(kArchitecture));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
  filter.push_back(Return(SECCOMP_RET_KILL_PROCESS));
  filter.push_back(Load(kNumber));
  only_if(BPF_JGE, kOtherAbi);
  filter.push_back(Return(SECCOMP_RET_KILL_PROCESS));
  for (const auto number : kDenied) deny(number, EPERM);
  // Its flags lie in memory, where a filter cannot look: the C library falls back to clone.
  deny(SYS_clone3, ENOSYS);
  // clone may start threads alone.
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
  filter.push_back(Load(kFirstArgument));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0));
  filter.push_back(Return(Refuse(EPERM)));
  filter.push_back(Return(SECCOMP_RET_ALLOW));
  return filter;
}

#else

SyscallFilter MakeSyscallFilter() {
  Throw(ErrorCode::kUnsupported,
        "code sandbox: the list of denied system calls is that of x86-64 Linux");
}

#endif

}  // namespace mixtral::eval

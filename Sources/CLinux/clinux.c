#define _GNU_SOURCE
#include "clinux.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int clinux_setns(int fd, int kind) { return setns(fd, kind); }
int clinux_unshare(int flags) { return unshare(flags); }
int clinux_gettid(void) { return (int)syscall(SYS_gettid); }
const void *clinux_memmem(const void *all, size_t size, const void *part, size_t length) {
  return memmem(all, size, part, length);
}
int clinux_pipe2(int fds[2], int flags) { return pipe2(fds, flags); }
int clinux_renameat2(int od, const char *o, int nd, const char *n, unsigned flags) {
  return (int)syscall(SYS_renameat2, od, o, nd, n, flags);
}

// posix_spawn with the three standard descriptors given, default signal dispositions and an empty signal mask.
// Returns 0 or an errno value.
int clinux_spawn_in_group(pid_t *pid, const char *path, char *const argv[], char *const envp[],
                          int in, int out, int err, int new_session) {
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t attr;
  sigset_t none, all;
  int rc = posix_spawn_file_actions_init(&fa);
  if (rc) return rc;
  rc = posix_spawnattr_init(&attr);
  if (rc) { posix_spawn_file_actions_destroy(&fa); return rc; }
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attr, &none);
  posix_spawnattr_setsigdefault(&attr, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (new_session) flags |= POSIX_SPAWN_SETSID;
  posix_spawnattr_setflags(&attr, flags);
  int want[3] = {in, out, err};
  for (int i = 0; i < 3 && !rc; i++) rc = posix_spawn_file_actions_adddup2(&fa, want[i], i);
  if (!rc) rc = posix_spawn(pid, path, &fa, &attr, argv, envp);
  posix_spawnattr_destroy(&attr);
  posix_spawn_file_actions_destroy(&fa);
  return rc;
}

int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
int clinux_signalfd(const sigset_t *signals) { return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK); }

int clinux_ignore_netlink_port(int fd, uint32_t port) {
  // Loads are big-endian, the header is in the machine's order: compare with the swapped number.
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(port), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void clinux_release_memory(void) {
  extern char __executable_start[], etext[];
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
  uintptr_t end = (uintptr_t)etext & ~(page - 1);
  // Code is mapped read-only from the file and never written, so dropping the mapping loses nothing.
  if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
  malloc_trim(0);
}

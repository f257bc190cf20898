// Kernel headers and shims for what Swift cannot import. No logic.
#pragma once
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <netinet/in.h>
#include <net/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/veth.h>
#include <linux/nexthop.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>

// _GNU_SOURCE functions, which the importer does not see.
int clinux_setns(int fd, int kind);
int clinux_unshare(int flags);
int clinux_gettid(void);
const void *clinux_memmem(const void *all, size_t size, const void *part, size_t length);
int clinux_pipe2(int fds[2], int flags);
int clinux_renameat2(int olddir, const char *oldpath, int newdir, const char *newpath, unsigned flags);
int clinux_spawn_in_group(pid_t *pid, const char *path, char *const argv[], char *const envp[],
                          int in, int out, int err, int new_session);

// Both close-on-exec and non-blocking.
int clinux_eventfd(void);
int clinux_signalfd(const sigset_t *signals);

// Attaches a filter to a netlink socket that drops messages whose nlmsg_pid is `port`. 0 or -1 with errno.
int clinux_ignore_netlink_port(int fd, uint32_t port);

// Gives the mapped pages of the program's own code back to the page cache, and free heap pages to the kernel. Both come
// back on demand.
void clinux_release_memory(void);

// Macros that are not plain integers to the importer.
enum {
  CLINUX_CLONE_NEWNET = 0x40000000,
  CLINUX_CLONE_NEWNS = 0x00020000,
  CLINUX_TUNSETIFF = 0x400454ca,
  CLINUX_TUNSETPERSIST = 0x400454cb,
  CLINUX_NSFS_MAGIC = 0x6e736673,
  CLINUX_NS_GET_NSTYPE = 0xb703,
};

/* A disk that takes its time: preloaded into a daemon, it makes every sync wait for SLOW_DISK_MS first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
    const char *wait_ms = getenv("SLOW_DISK_MS");
    usleep(1000 * (wait_ms ? atoi(wait_ms) : 0));
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return sync(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }

/* Makes the n-th disk operation below a folder go wrong, so that a test can try every one in turn.
 *
 *     gcc -O2 -shared -fPIC -o faultshim.so faultshim.c -ldl;  LD_PRELOAD=./faultshim.so program
 *
 * The program arms it by fault_arm(folder, mode, first, count): operations first to first + count - 1 below the folder
 * fail. Counted are writes, syncs, truncations, allocations, renames, links, unlinks and the creation of files. fault_count() tells how many
 * there were. It does not see writes through a mapping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[512], mode[16];
static long first, last, operations;

void fault_arm(const char *below, const char *how, long at, long count)
{
    snprintf(mode, sizeof mode, "%s", how);
    first = at, last = at + count - 1, operations = 0;
    snprintf(folder, sizeof folder, "%s", below);
}

long fault_count(void) { return operations; }

static int is(const char *name) { return !strcmp(mode, name); }

static int is_below(const char *path) { return *folder && path && !strncmp(path, folder, strlen(folder)); }

static int is_ours(int file)
{
    char link[64], path[1024];
    if (!*folder)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

static void die(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        pause();
}

/* Counts an operation; tells whether it is one that goes wrong. */
static int is_hit(void) { return ++operations >= first && operations <= last; }

/* For what can only fail or not happen: 1 when it fails, with errno set. */
static int fails(void)
{
    if (!is_hit())
        return 0;
    if (is("kill") || is("torn"))
        die();
    errno = is("enospc") ? ENOSPC : is("readonly") ? EROFS : EIO;
    return is("eio") || is("enospc") || is("readonly");
}

static ssize_t raw_write(int file, const void *bytes, size_t count, off_t at, int positioned)
{
    return positioned ? syscall(SYS_pwrite64, file, bytes, count, at) : syscall(SYS_write, file, bytes, count);
}

static ssize_t faulty_write(int file, const void *bytes, size_t count, off_t at, int positioned)
{
    if (!is_ours(file) || !is_hit())
        return raw_write(file, bytes, count, at, positioned);
    if (is("torn"))
        raw_write(file, bytes, count / 2, at, positioned);
    if (is("torn") || is("kill"))
        die();
    if (is("short"))
        return raw_write(file, bytes, count > 1 ? count / 2 : count, at, positioned);
    errno = is("enospc") ? ENOSPC : is("readonly") ? EROFS : EIO;
    return is("eio") || is("enospc") || is("readonly") ? -1 : raw_write(file, bytes, count, at, positioned);
}

ssize_t write(int file, const void *bytes, size_t count) { return faulty_write(file, bytes, count, 0, 0); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return faulty_write(file, bytes, count, at, 1); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) { return faulty_write(file, bytes, count, at, 1); }

int fsync(int file) { return is_ours(file) && fails() ? -1 : (int)syscall(SYS_fsync, file); }
int fdatasync(int file) { return is_ours(file) && fails() ? -1 : (int)syscall(SYS_fdatasync, file); }
int ftruncate(int file, off_t size) { return is_ours(file) && fails() ? -1 : (int)syscall(SYS_ftruncate, file, size); }
int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

int posix_fallocate(int file, off_t at, off_t size)
{
    if (is_ours(file) && fails())
        return errno;
    return syscall(SYS_fallocate, file, 0, at, size) ? errno : 0;
}
int posix_fallocate64(int file, off_t at, off_t size) { return posix_fallocate(file, at, size); }

int rename(const char *from, const char *to) { return is_below(from) && fails() ? -1 : (int)syscall(SYS_rename, from, to); }
int link(const char *from, const char *to) { return is_below(from) && fails() ? -1 : (int)syscall(SYS_link, from, to); }
int unlink(const char *path) { return is_below(path) && fails() ? -1 : (int)syscall(SYS_unlink, path); }

static int faulty_open(int at, const char *path, int flags, mode_t permissions)
{
    struct stat status;
    if (is_below(path) && flags & O_CREAT && stat(path, &status) && fails())
        return -1;
    return syscall(SYS_openat, at, path, flags, permissions);
}

#define PERMISSIONS(flags)                                                                                             \
    mode_t permissions = 0;                                                                                            \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        permissions = va_arg(rest, mode_t);                                                                            \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) { PERMISSIONS(flags) return faulty_open(AT_FDCWD, path, flags, permissions); }
int open64(const char *path, int flags, ...) { PERMISSIONS(flags) return faulty_open(AT_FDCWD, path, flags, permissions); }
int openat(int at, const char *path, int flags, ...) { PERMISSIONS(flags) return faulty_open(at, path, flags, permissions); }
int openat64(int at, const char *path, int flags, ...) { PERMISSIONS(flags) return faulty_open(at, path, flags, permissions); }

/* Makes the k-th call that writes to files under a folder, or makes or removes names there, fail,
   stop half-way, or kill the process.

   Loaded by LD_PRELOAD; does nothing until fault_arm(). Calls are counted over all threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2, OTHERS = 4, NAMES = 8 };   /* which calls count */
enum { ONCE = 0, FROM_THEN_ON = 1, HALF = 2, KILL = 4 }; /* what happens */

static char folder[PATH_MAX];
static size_t folder_length;
static int counted, wanted_error, what;
static long wanted, seen;

void fault_arm(const char *path, int calls, long k, int error, int how) {
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    counted = calls, wanted_error = error, what = how, wanted = k, seen = 0;
}

/* Return how many calls were counted; from now on all work. */
long fault_disarm(void) {
    counted = 0;
    return seen;
}

static int is_ours(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length >= (ssize_t)folder_length && memcmp(path, folder, folder_length) == 0;
}

/* Tell whether a path lies under the folder, also when it is one from an open folder. */
static int is_below(int at, const char *path) {
    if (path[0] != '/' && at != AT_FDCWD) return is_ours(at);
    return strncmp(path, folder, folder_length) == 0;
}

/* Count a call; return whether it must fail now. */
static int must_fail(int kind) {
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    int now = number == wanted || (number > wanted && what & FROM_THEN_ON);
    if (number == wanted + 1 && what & HALF && kind == WRITES) now = 1;
    if (now && what & KILL && !(what & HALF && kind == WRITES && number == wanted))
        kill(getpid(), SIGKILL);
    return now;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* The first failing call of HALF writes half; the next write fails. */
#define WRITE(size, half) \
    if ((counted & WRITES) && is_ours(descriptor)) { \
        int first = seen + 1 == wanted; \
        if (must_fail(WRITES)) { \
            if (what & HALF && first && size > 1) { \
                ssize_t written = half; \
                if (what & KILL) kill(getpid(), SIGKILL); \
                return written; \
            } \
            errno = wanted_error; \
            return -1; \
        } \
    }

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    WRITE(size, real(descriptor, data, size / 2))
    return real(descriptor, data, size);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    WRITE(size, real(descriptor, data, size / 2, offset))
    return real(descriptor, data, size, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    WRITE(size, real(descriptor, data, size / 2, offset))
    return real(descriptor, data, size, offset);
}

#define FAIL(kind, ours) \
    if ((counted & kind) && ours && must_fail(kind)) { \
        errno = wanted_error; \
        return -1; \
    }

int fsync(int descriptor) {
    REAL(int, "fsync", int);
    FAIL(SYNCS, is_ours(descriptor))
    return real(descriptor);
}

int fdatasync(int descriptor) {
    REAL(int, "fdatasync", int);
    FAIL(SYNCS, is_ours(descriptor))
    return real(descriptor);
}

int ftruncate(int descriptor, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    FAIL(OTHERS, is_ours(descriptor))
    return real(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    FAIL(OTHERS, is_ours(descriptor))
    return real(descriptor, size);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    FAIL(OTHERS, is_below(AT_FDCWD, from))
    return real(from, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    FAIL(NAMES, is_below(AT_FDCWD, path))
    return real(path);
}

int unlinkat(int at, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    FAIL(NAMES, is_below(at, path))
    return real(at, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    FAIL(NAMES, is_below(AT_FDCWD, path))
    return real(path, mode);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    FAIL(NAMES, is_below(to_at, to))
    return real(from_at, from, to_at, to, flags);
}

/* Only what makes a file is counted, not the opening of one that is there. */
int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...);
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        FAIL(NAMES, is_below(AT_FDCWD, path) && access(path, F_OK) != 0)
    }
    return real(path, flags, mode);
}

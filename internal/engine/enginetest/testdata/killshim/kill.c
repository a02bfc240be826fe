/*
 * A preload library that kills its process just before the N-th system call that changes a file in one directory.
 *
 *   cc -shared -fPIC -O2 -o kill.so kill.c -ldl
 *   LD_PRELOAD=kill.so KILL_DIR=/path KILL_AT=17 KILL_ARMED=/elsewhere/armed program
 *
 * KILL_DIR    the directory whose changes count, with everything below it
 * KILL_AT     the number of the call before which the process gets SIGKILL, from 1; 0 only counts
 * KILL_ARMED  calls count while this file exists; unset: always
 * KILL_COUNT  this file holds the number of calls counted so far, in decimal
 * KILL_LOG    this file gets one line per call: number, call, path
 *
 * It sees calls made through the C library: open with O_CREAT or O_TRUNC, mkdir, write, pwrite, writev, pwritev,
 * rename, unlink, rmdir, remove, link, symlink, truncate, ftruncate, fallocate, fsync, fdatasync, sendfile, their *at
 * and 64 forms, fopen for writing, and the same made through syscall(). It does not see what stdio flushes, stores to
 * a shared mapping, or io_uring. The files of KILL_ARMED, KILL_COUNT and KILL_LOG must lie outside KILL_DIR.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char dir_given[PATH_MAX], dir_real[PATH_MAX];
static const char *armed;
static long kill_at, calls;
static int count_fd = -1, log_fd = -1, ready;

/* raw never meets a wrapper: it is the library's own syscall, the next one after ours. */
static long (*raw)(long, ...);

__attribute__((constructor)) static void init(void)
{
	const char *dir = getenv("KILL_DIR"), *at = getenv("KILL_AT"), *count = getenv("KILL_COUNT"), *log = getenv("KILL_LOG");

	raw = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	armed = getenv("KILL_ARMED");
	if (!raw || !dir || strlen(dir) >= PATH_MAX)
		return;
	strcpy(dir_given, dir);
	if (!realpath(dir, dir_real))
		strcpy(dir_real, dir);
	kill_at = at ? atol(at) : 0;
	if (count)
		count_fd = raw(SYS_openat, AT_FDCWD, count, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log)
		log_fd = raw(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ready = 1;
}

static int below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static void call(const char *name, const char *path)
{
	long n;
	char line[PATH_MAX + 64];
	int len;

	if (!below(path, dir_given) && !below(path, dir_real))
		return;
	n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
	if (log_fd >= 0) {
		len = snprintf(line, sizeof line, "%ld %s %s\n", n, name, path);
		raw(SYS_write, log_fd, line, (long)len);
	}
	if (count_fd >= 0) {
		len = snprintf(line, sizeof line, "%ld\n", n);
		raw(SYS_pwrite64, count_fd, line, (long)len, 0L);
	}
	if (n == kill_at) {
		for (;;)
			raw(SYS_kill, (long)raw(SYS_getpid), (long)SIGKILL);
	}
}

static int counting(void)
{
	return ready && (!armed || raw(SYS_faccessat, AT_FDCWD, armed, F_OK) == 0);
}

static int fd_path(int fd, char *path)
{
	char link[64];
	long n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = raw(SYS_readlinkat, AT_FDCWD, link, path, (long)PATH_MAX - 1);
	if (n <= 0)
		return 0;
	path[n] = 0;
	return path[0] == '/';
}

static void call_fd(const char *name, int fd)
{
	char path[PATH_MAX];

	if (counting() && fd_path(fd, path))
		call(name, path);
}

static void call_at(const char *name, int at, const char *path)
{
	char base[PATH_MAX], whole[2 * PATH_MAX];

	if (!path || !counting())
		return;
	if (path[0] == '/') {
		call(name, path);
		return;
	}
	if (at == AT_FDCWD ? !getcwd(base, sizeof base) : !fd_path(at, base))
		return;
	snprintf(whole, sizeof whole, "%s/%s", base, path);
	if (strlen(whole) < PATH_MAX)
		call(name, whole);
}

#define NEXT(type, name, ...) static type (*next)(__VA_ARGS__); if (!next) next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define HAS_MODE(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)

#define OPEN(name)                                                                        \
	int name(const char *path, int flags, ...)                                        \
	{                                                                                 \
		va_list list;                                                             \
		mode_t mode;                                                              \
		NEXT(int, name, const char *, int, ...);                                  \
		va_start(list, flags);                                                    \
		mode = HAS_MODE(flags) ? va_arg(list, mode_t) : 0;                        \
		va_end(list);                                                             \
		if (flags & (O_CREAT | O_TRUNC))                                          \
			call_at(#name, AT_FDCWD, path);                                   \
		return next(path, flags, mode);                                           \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                      \
	int name(int at, const char *path, int flags, ...)                                \
	{                                                                                 \
		va_list list;                                                             \
		mode_t mode;                                                              \
		NEXT(int, name, int, const char *, int, ...);                             \
		va_start(list, flags);                                                    \
		mode = HAS_MODE(flags) ? va_arg(list, mode_t) : 0;                        \
		va_end(list);                                                             \
		if (flags & (O_CREAT | O_TRUNC))                                          \
			call_at(#name, at, path);                                         \
		return next(at, path, flags, mode);                                       \
	}
OPENAT(openat)
OPENAT(openat64)

#define CREAT(name) \
	int name(const char *path, mode_t mode) { NEXT(int, name, const char *, mode_t); call_at(#name, AT_FDCWD, path); return next(path, mode); }
CREAT(creat)
CREAT(creat64)

#define FOPEN(name)                                                                       \
	FILE *name(const char *path, const char *mode)                                    \
	{                                                                                 \
		NEXT(FILE *, name, const char *, const char *);                           \
		if (strpbrk(mode, "wa+"))                                                 \
			call_at(#name, AT_FDCWD, path);                                   \
		return next(path, mode);                                                  \
	}
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *data, size_t n) { NEXT(ssize_t, write, int, const void *, size_t); call_fd("write", fd); return next(fd, data, n); }

#define PWRITE(name, off) \
	ssize_t name(int fd, const void *data, size_t n, off at) { NEXT(ssize_t, name, int, const void *, size_t, off); call_fd(#name, fd); return next(fd, data, n, at); }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *v, int n) { NEXT(ssize_t, writev, int, const struct iovec *, int); call_fd("writev", fd); return next(fd, v, n); }

#define PWRITEV(name, off) \
	ssize_t name(int fd, const struct iovec *v, int n, off at) { NEXT(ssize_t, name, int, const struct iovec *, int, off); call_fd(#name, fd); return next(fd, v, n, at); }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define SENDFILE(name, off) \
	ssize_t name(int out, int in, off *at, size_t n) { NEXT(ssize_t, name, int, int, off *, size_t); call_fd(#name, out); return next(out, in, at, n); }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

#define ON_FD(name) \
	int name(int fd) { NEXT(int, name, int); call_fd(#name, fd); return next(fd); }
ON_FD(fsync)
ON_FD(fdatasync)

#define FTRUNCATE(name, off) \
	int name(int fd, off n) { NEXT(int, name, int, off); call_fd(#name, fd); return next(fd, n); }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, off) \
	int name(int fd, int mode, off at, off n) { NEXT(int, name, int, int, off, off); call_fd(#name, fd); return next(fd, mode, at, n); }
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

#define POSIX_FALLOCATE(name, off) \
	int name(int fd, off at, off n) { NEXT(int, name, int, off, off); call_fd(#name, fd); return next(fd, at, n); }
POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

#define TRUNCATE(name, off) \
	int name(const char *path, off n) { NEXT(int, name, const char *, off); call_at(#name, AT_FDCWD, path); return next(path, n); }
TRUNCATE(truncate, off_t)
TRUNCATE(truncate64, off64_t)

#define ON_PATH(name) \
	int name(const char *path) { NEXT(int, name, const char *); call_at(#name, AT_FDCWD, path); return next(path); }
ON_PATH(unlink)
ON_PATH(rmdir)
ON_PATH(remove)

int mkdir(const char *path, mode_t mode) { NEXT(int, mkdir, const char *, mode_t); call_at("mkdir", AT_FDCWD, path); return next(path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { NEXT(int, mkdirat, int, const char *, mode_t); call_at("mkdirat", at, path); return next(at, path, mode); }
int unlinkat(int at, const char *path, int flags) { NEXT(int, unlinkat, int, const char *, int); call_at("unlinkat", at, path); return next(at, path, flags); }

/* The new name decides: a rename into the directory and one within it change it. */
int rename(const char *from, const char *to) { NEXT(int, rename, const char *, const char *); call_at("rename", AT_FDCWD, to); return next(from, to); }
int renameat(int a, const char *from, int b, const char *to) { NEXT(int, renameat, int, const char *, int, const char *); call_at("renameat", b, to); return next(a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { NEXT(int, renameat2, int, const char *, int, const char *, unsigned); call_at("renameat2", b, to); return next(a, from, b, to, flags); }
int link(const char *from, const char *to) { NEXT(int, link, const char *, const char *); call_at("link", AT_FDCWD, to); return next(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { NEXT(int, linkat, int, const char *, int, const char *, int); call_at("linkat", b, to); return next(a, from, b, to, flags); }
int symlink(const char *what, const char *at) { NEXT(int, symlink, const char *, const char *); call_at("symlink", AT_FDCWD, at); return next(what, at); }
int symlinkat(const char *what, int at, const char *path) { NEXT(int, symlinkat, const char *, int, const char *); call_at("symlinkat", at, path); return next(what, at, path); }

long syscall(long number, ...)
{
	long a[6];
	va_list list;
	int i;
	NEXT(long, syscall, long, ...);

	va_start(list, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	switch (number) {
	case SYS_renameat2:
		call_at("syscall renameat2", (int)a[2], (const char *)a[3]);
		break;
	case SYS_renameat:
		call_at("syscall renameat", (int)a[2], (const char *)a[3]);
		break;
	case SYS_openat:
		if (a[2] & (O_CREAT | O_TRUNC))
			call_at("syscall openat", (int)a[0], (const char *)a[1]);
		break;
	case SYS_mkdirat:
		call_at("syscall mkdirat", (int)a[0], (const char *)a[1]);
		break;
	case SYS_unlinkat:
		call_at("syscall unlinkat", (int)a[0], (const char *)a[1]);
		break;
	case SYS_linkat:
		call_at("syscall linkat", (int)a[2], (const char *)a[3]);
		break;
	case SYS_write:
		call_fd("syscall write", (int)a[0]);
		break;
	case SYS_pwrite64:
		call_fd("syscall pwrite64", (int)a[0]);
		break;
	case SYS_writev:
		call_fd("syscall writev", (int)a[0]);
		break;
	case SYS_fsync:
		call_fd("syscall fsync", (int)a[0]);
		break;
	case SYS_fdatasync:
		call_fd("syscall fdatasync", (int)a[0]);
		break;
	case SYS_ftruncate:
		call_fd("syscall ftruncate", (int)a[0]);
		break;
	case SYS_copy_file_range:
		call_fd("syscall copy_file_range", (int)a[2]);
		break;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

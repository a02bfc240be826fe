// A preload library for tests: listen(2) aborts as long as the file named by ABORTS has a byte, and takes one byte from it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int listen(int fd, int backlog) {
	struct stat left;
	const char *path = getenv("ABORTS");
	if (path && stat(path, &left) == 0 && left.st_size > 0 && truncate(path, left.st_size - 1) == 0)
		abort();
	return ((int (*)(int, int))dlsym(RTLD_NEXT, "listen"))(fd, backlog);
}

/* A disk that becomes read-only: once the file that NH_READ_ONLY names is there, whatever would change something in the
 * folder NH_FOLDER fails with EROFS, as on a file system that was mounted again after an error. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_read_only(void)
{
    const char *flag = getenv("NH_READ_ONLY");
    return flag && !syscall(SYS_faccessat, AT_FDCWD, flag, F_OK);
}

static int within(const char *path)
{
    const char *folder = getenv("NH_FOLDER");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int fails(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = is_read_only() ? readlink(link, path, sizeof path - 1) : -1;
    if (n < 0)
        return 0;
    path[n] = 0;
    return within(path) ? (errno = EROFS, 1) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int fd, const void *bytes, size_t n) { return fails(fd) ? -1 : REAL(write)(fd, bytes, n); }
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return fails(fd) ? -1 : REAL(pwrite)(fd, bytes, n, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) { return fails(fd) ? -1 : REAL(pwrite64)(fd, bytes, n, at); }
int ftruncate(int fd, off_t n) { return fails(fd) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, n); }
int fallocate(int fd, int mode, off_t at, off_t n) { return fails(fd) ? -1 : REAL(fallocate)(fd, mode, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { return fails(fd) ? -1 : REAL(fallocate64)(fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { return fails(fd) ? EROFS : REAL(posix_fallocate)(fd, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) { return fails(fd) ? EROFS : REAL(posix_fallocate64)(fd, at, n); }

static int opened(int at, const char *path, int flags, mode_t mode)
{
    if (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR) && within(path) && is_read_only()) {
        errno = EROFS;
        return -1;
    }
    return syscall(SYS_openat, at, path, flags, mode);
}
#define MODE va_list more; va_start(more, flags); mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; va_end(more)
int open(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE; return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE; return opened(at, path, flags | O_LARGEFILE, mode); }
int rename(const char *from, const char *to) { return within(to) && is_read_only() ? (errno = EROFS, -1) : REAL(rename)(from, to); }
int unlink(const char *path) { return within(path) && is_read_only() ? (errno = EROFS, -1) : REAL(unlink)(path); }

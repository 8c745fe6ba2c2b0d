/* Logs, in order, what a program does to the files of one folder: every write with its bytes, every new size, every
 * name, and every call after which the disk has it. Pages that are mapped and shared are looked at before each logged
 * call, a sector at a time: what changed is logged as a write of that sector.
 *
 * NH_TRACE names the log, NH_FOLDER the folder. Loaded with LD_PRELOAD; x86-64 and aarch64, glibc.
 *
 * A record: kind (u8), inode (u64), offset (i64), lengths of name, other name and bytes (u32 each), then these. Native
 * byte order. Kinds: W write, T size, C created, R renamed, L linked, U unlinked, S synced, D folder synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512
#define MAPS 16
#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct map { char *at, *copy; size_t n; uint64_t ino; off_t offset; } maps[MAPS];
static int trace = -1;
static const char *folder;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("NH_TRACE");
    folder = getenv("NH_FOLDER");
    if (path && folder)
        trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(char kind, uint64_t ino, int64_t offset, const char *name, const char *other, const void *bytes, size_t n)
{
    uint32_t lengths[3] = {name ? strlen(name) : 0, other ? strlen(other) : 0, n};
    struct iovec parts[] = {{&kind, 1}, {&ino, 8}, {&offset, 8}, {lengths, 12},
                            {(void *)name, lengths[0]}, {(void *)other, lengths[1]}, {(void *)bytes, n}};
    ssize_t whole = 29 + lengths[0] + lengths[1] + (ssize_t)n;
    if (syscall(SYS_writev, trace, parts, 7) != whole)
        abort();
}

static void look(void)
{
    for (int i = 0; i < MAPS; i++)
        for (size_t at = 0; maps[i].at && at < maps[i].n; at += SECTOR)
            if (memcmp(maps[i].at + at, maps[i].copy + at, SECTOR)) {
                memcpy(maps[i].copy + at, maps[i].at + at, SECTOR);
                put('W', maps[i].ino, maps[i].offset + at, 0, 0, maps[i].copy + at, SECTOR);
            }
}

static uint64_t file_of(int fd)  /* its inode where it is a file of the folder, else 0 */
{
    char link[64], path[4096];
    struct stat is;
    if (trace < 0 || fd < 0 || fd == trace)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    if (strncmp(path, folder, strlen(folder)) || path[strlen(folder)] != '/')
        return 0;
    return fstat(fd, &is) == 0 && S_ISREG(is.st_mode) ? is.st_ino : 0;
}

static int is_folder(int fd)
{
    struct stat is, of;
    return trace >= 0 && !fstat(fd, &is) && !stat(folder, &of) && is.st_ino == of.st_ino && is.st_dev == of.st_dev;
}

static const char *name_of(const char *path)  /* within the folder, or 0 */
{
    size_t n = folder ? strlen(folder) : 0;
    return trace >= 0 && path && !strncmp(path, folder, n) && path[n] == '/' && !strchr(path + n + 1, '/') ? path + n + 1 : 0;
}

static uint64_t inode(const char *path)
{
    struct stat is;
    return stat(path, &is) ? 0 : is.st_ino;
}

static void wrote(int fd, uint64_t ino, const void *bytes, ssize_t n, off_t offset)
{
    if (n <= 0)
        return;
    struct stat is;
    if (offset < 0) {
        offset = lseek(fd, 0, SEEK_CUR) - n;
        if (fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &is))
            offset = is.st_size - n;
    }
    put('W', ino, offset, 0, 0, bytes, n);
}

#define LOCKED(body) do { int kept; pthread_mutex_lock(&lock); look(); body; kept = errno; pthread_mutex_unlock(&lock); errno = kept; } while (0)

ssize_t write(int fd, const void *bytes, size_t n)
{
    ssize_t done;
    uint64_t ino = file_of(fd);
    if (!ino)
        return REAL(write)(fd, bytes, n);
    LOCKED(done = REAL(write)(fd, bytes, n); wrote(fd, ino, bytes, done, -1));
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    ssize_t done;
    uint64_t ino = file_of(fd);
    if (!ino)
        return REAL(pwrite64)(fd, bytes, n, offset);
    LOCKED(done = REAL(pwrite64)(fd, bytes, n, offset); wrote(fd, ino, bytes, done, offset));
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return pwrite64(fd, bytes, n, offset); }

static void forbidden(int fd, const char *what)
{
    if (file_of(fd)) {
        fprintf(stderr, "%s is not traced\n", what);
        abort();
    }
}

ssize_t writev(int fd, const struct iovec *parts, int n) { forbidden(fd, "writev"); return REAL(writev)(fd, parts, n); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { forbidden(fd, "pwritev"); return REAL(pwritev)(fd, parts, n, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { forbidden(fd, "pwritev64"); return REAL(pwritev64)(fd, parts, n, at); }

/* Programs that copy fall back to write. */
ssize_t sendfile64(int out, int in, off64_t *at, size_t n)
{
    if (file_of(out)) { errno = EINVAL; return -1; }
    return ((ssize_t(*)(int, int, off64_t *, size_t))real("sendfile64"))(out, in, at, n);
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) { return sendfile64(out, in, at, n); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags)
{
    if (file_of(out)) { errno = EXDEV; return -1; }
    return REAL(copy_file_range)(in, from, out, to, n, flags);
}

int ftruncate64(int fd, off64_t size)
{
    int done;
    uint64_t ino = file_of(fd);
    if (!ino)
        return REAL(ftruncate64)(fd, size);
    LOCKED(done = REAL(ftruncate64)(fd, size); if (!done) put('T', ino, size, 0, 0, 0, 0));
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static void grown(int fd, uint64_t ino, off_t before)
{
    struct stat is;
    if (!fstat(fd, &is) && is.st_size != before)
        put('T', ino, is.st_size, 0, 0, 0, 0);
}

int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    int done;
    struct stat is;
    uint64_t ino = file_of(fd);
    if (!ino)
        return REAL(fallocate64)(fd, mode, at, n);
    LOCKED(fstat(fd, &is); done = REAL(fallocate64)(fd, mode, at, n); grown(fd, ino, is.st_size));
    return done;
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

int posix_fallocate64(int fd, off64_t at, off64_t n)
{
    int done;
    struct stat is;
    uint64_t ino = file_of(fd);
    if (!ino)
        return REAL(posix_fallocate64)(fd, at, n);
    LOCKED(fstat(fd, &is); done = REAL(posix_fallocate64)(fd, at, n); grown(fd, ino, is.st_size));
    return done;
}
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }

#define SYNC(name) int name(int fd) \
{ \
    int done; \
    uint64_t ino = file_of(fd); \
    if (!ino && !is_folder(fd)) \
        return REAL(name)(fd); \
    LOCKED(done = REAL(name)(fd); if (!done) put(ino ? 'S' : 'D', ino, 0, 0, 0, 0, 0)); \
    return done; \
}
SYNC(fsync)
SYNC(fdatasync)

int msync(void *at, size_t n, int flags)
{
    int done = 0;
    LOCKED(done = REAL(msync)(at, n, flags);
        for (int i = 0; i < MAPS; i++)
            if (maps[i].at && (char *)at <= maps[i].at && (char *)at + n >= maps[i].at + maps[i].n && !done)
                put('S', maps[i].ino, 0, 0, 0, 0, 0));
    return done;
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t offset)
{
    void *done = REAL(mmap64)(at, n, protection, flags, fd, offset);
    uint64_t ino = flags & MAP_SHARED && protection & PROT_WRITE && done != MAP_FAILED ? file_of(fd) : 0;
    if (!ino)
        return done;
    pthread_mutex_lock(&lock);
    size_t whole = (n + 4095) / 4096 * 4096;
    for (int i = 0; ; i++) {
        if (i == MAPS)
            abort();
        if (!maps[i].at) {
            char *copy = malloc(whole);
            memcpy(copy, done, whole);
            maps[i] = (struct map){done, copy, whole, ino, offset};
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return done;
}
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) { return mmap64(at, n, protection, flags, fd, offset); }

void *mremap(void *at, size_t before, size_t n, int flags, ...)
{
    void *done;
    LOCKED(done = (void *)syscall(SYS_mremap, at, before, n, flags, 0);
        for (int i = 0; i < MAPS; i++)
            if (maps[i].at == at && done != MAP_FAILED) {
                size_t whole = (n + 4095) / 4096 * 4096;
                maps[i].copy = realloc(maps[i].copy, whole);
                if (whole > maps[i].n)
                    memcpy(maps[i].copy + maps[i].n, (char *)done + maps[i].n, whole - maps[i].n);
                maps[i].at = done;
                maps[i].n = whole;
            });
    return done;
}

int munmap(void *at, size_t n)
{
    int done;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAPS; i++)
        if (maps[i].at && maps[i].at == at) {
            look();
            free(maps[i].copy);
            maps[i].at = 0;
        }
    done = syscall(SYS_munmap, at, n);
    pthread_mutex_unlock(&lock);
    return done;
}

static int opened(int at, const char *path, int flags, mode_t mode)
{
    const char *name = name_of(path);
    int fd;
    if (!name || !(flags & (O_CREAT | O_TRUNC)))
        return syscall(SYS_openat, at, path, flags, mode);
    LOCKED(
        uint64_t before = inode(path);
        fd = syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0) {
            if (!before)
                put('C', inode(path), 0, name, 0, 0, 0);
            else if (flags & O_TRUNC)
                put('T', before, 0, 0, 0, 0, 0);
        });
    return fd;
}

#define MODE va_list more; va_start(more, flags); mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; va_end(more)
int open(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE; return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE; return opened(at, path, flags | O_LARGEFILE, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int rename(const char *from, const char *to)
{
    int done;
    LOCKED(done = REAL(rename)(from, to); if (!done && name_of(to)) put('R', inode(to), 0, name_of(from), name_of(to), 0, 0));
    return done;
}
int renameat(int a, const char *from, int b, const char *to) { return a == AT_FDCWD && b == AT_FDCWD ? rename(from, to) : REAL(renameat)(a, from, b, to); }

int link(const char *from, const char *to)
{
    int done;
    LOCKED(done = REAL(link)(from, to); if (!done && name_of(to)) put('L', inode(to), 0, name_of(to), 0, 0, 0));
    return done;
}
int linkat(int a, const char *from, int b, const char *to, int flags) { return a == AT_FDCWD && b == AT_FDCWD ? link(from, to) : REAL(linkat)(a, from, b, to, flags); }

int unlink(const char *path)
{
    int done;
    LOCKED(done = REAL(unlink)(path); if (!done && name_of(path)) put('U', 0, 0, name_of(path), 0, 0, 0));
    return done;
}
int unlinkat(int at, const char *path, int flags) { return at == AT_FDCWD && !(flags & AT_REMOVEDIR) ? unlink(path) : REAL(unlinkat)(at, path, flags); }

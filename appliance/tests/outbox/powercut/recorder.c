/*
 * Records what a program does to the files below one directory, so that a test can rebuild what a power cut at any
 * moment would have left. Loaded with LD_PRELOAD; RECORD_ROOT names the directory, RECORD_LOG the log.
 *
 * The log is a run of records, little-endian: u8 operation, u64 number, u64 offset, u32 length, u32 length,
 * then two byte strings of those lengths. Operations:
 *
 *   C  create       number = inode        first = path
 *   W  write        number = inode        offset        first = data
 *   T  truncate     number = inode        offset = new size
 *   R  rename       first = old path      second = new path
 *   U  unlink       first = path
 *   D  mkdir        number = inode        first = path
 *   X  rmdir        first = path
 *   B  sync begins  number = inode        offset = number of the sync
 *   E  sync ended                         offset = number of the sync
 *   F  sync failed  number = inode
 *
 * RECORD_FAIL_SYNC=n makes each n-th sync of a spool file fail as a broken drive does: what it should have
 * synced is lost, and a later sync does not bring it back.
 *
 * One mutex orders operations and their records. A sync runs without it, between its two records: only what was
 * written before its beginning counts as synced. sync_file_range is passed through unrecorded: it promises nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint64_t syncs;
static unsigned long fail_every, spool_syncs;

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("RECORD_ROOT"), *log = getenv("RECORD_LOG");
    if (!dir || !log) return;
    log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
    const char *fail = getenv("RECORD_FAIL_SYNC");
    if (fail) fail_every = strtoul(fail, NULL, 10);
    root_length = strlen(dir);
    memcpy(root, dir, root_length + 1);
}

static void put(char operation, uint64_t number, uint64_t offset, const void *first, uint32_t first_length,
                const void *second, uint32_t second_length) {
    size_t length = 25 + (size_t)first_length + second_length;
    char *record = malloc(length);
    if (!record) abort();
    record[0] = operation;
    memcpy(record + 1, &number, 8);
    memcpy(record + 9, &offset, 8);
    memcpy(record + 17, &first_length, 4);
    memcpy(record + 21, &second_length, 4);
    if (first_length) memcpy(record + 25, first, first_length);
    if (second_length) memcpy(record + 25 + first_length, second, second_length);
    for (size_t done = 0; done < length;) {
        ssize_t written = syscall(SYS_write, log_fd, record + done, length - done);
        if (written <= 0) abort();
        done += written;
    }
    free(record);
}

static void put_path(char operation, uint64_t number, const char *path) {
    put(operation, number, 0, path, strlen(path), NULL, 0);
}

static int below(const char *path) {
    return log_fd >= 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

/* The absolute path; 0 when it is not below the root. */
static int resolve(int dir, const char *path, char *full) {
    if (log_fd < 0) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(full, path);
    } else {
        char base[PATH_MAX];
        if (dir == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of_fd(dir, base)) return 0;
        if (snprintf(full, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    return below(full);
}

static int recorded(int fd, struct stat *status) {
    char path[PATH_MAX];
    return log_fd >= 0 && fd != log_fd && path_of_fd(fd, path) && below(path) && fstat(fd, status) == 0;
}

static int open_recorded(int dir, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !resolve(dir, path, full))
        return syscall(SYS_openat, dir, path, flags, mode);
    pthread_mutex_lock(&order);
    int existed = stat(full, &status) == 0;
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    int saved = errno;
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        if (!existed) put_path('C', status.st_ino, full);
        else if (flags & O_TRUNC) put('T', status.st_ino, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    errno = saved;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, int); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return open_recorded(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return open_recorded(dir, path, flags, mode); }

static ssize_t pwrite_recorded(int fd, const void *data, size_t length, off_t offset) {
    struct stat status;
    if (!recorded(fd, &status)) return syscall(SYS_pwrite64, fd, data, length, offset);
    pthread_mutex_lock(&order);
    ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
    int saved = errno;
    if (written > 0) put('W', status.st_ino, offset, data, written, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = saved;
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite_recorded(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite_recorded(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
    struct stat status;
    if (!recorded(fd, &status) || !S_ISREG(status.st_mode)) return syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&order);
    fstat(fd, &status);
    off_t offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t written = syscall(SYS_write, fd, data, length);
    int saved = errno;
    if (written > 0) put('W', status.st_ino, offset, data, written, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = saved;
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat status;
    if (!recorded(fd, &status) || count < 1) return syscall(SYS_writev, fd, parts, count);
    /* A short write is allowed; the caller comes back for the rest. */
    int part = 0;
    while (part < count - 1 && parts[part].iov_len == 0) part++;
    return write(fd, parts[part].iov_base, parts[part].iov_len);
}

/* Nothing below the root may pass by the record; a program that begins to use these must be recorded first. */
static void refuse(int fd, const char *name) {
    struct stat status;
    if (recorded(fd, &status)) {
        fprintf(stderr, "recorder: %s is not recorded\n", name);
        abort();
    }
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    refuse(fd, "pwritev");
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    refuse(fd, "fallocate");
    return syscall(SYS_fallocate, fd, mode, offset, length);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t length, unsigned flags) {
    refuse(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, length, flags);
}

static int truncate_recorded(int fd, off_t size) {
    struct stat status;
    if (!recorded(fd, &status)) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&order);
    int result = syscall(SYS_ftruncate, fd, size);
    int saved = errno;
    if (result == 0) put('T', status.st_ino, size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = saved;
    return result;
}

int ftruncate(int fd, off_t size) { return truncate_recorded(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_recorded(fd, size); }

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    char old_path[PATH_MAX], new_path[PATH_MAX];
    if (!resolve(from_dir, from, old_path) || !resolve(to_dir, to, new_path))
        return syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    pthread_mutex_lock(&order);
    int result = syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    int saved = errno;
    if (result == 0) put('R', 0, 0, old_path, strlen(old_path), new_path, strlen(new_path));
    pthread_mutex_unlock(&order);
    errno = saved;
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int dir, const char *path, int flags) {
    char full[PATH_MAX];
    if (!resolve(dir, path, full)) return syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&order);
    int result = syscall(SYS_unlinkat, dir, path, flags);
    int saved = errno;
    if (result == 0) put_path(flags & AT_REMOVEDIR ? 'X' : 'U', 0, full);
    pthread_mutex_unlock(&order);
    errno = saved;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dir, const char *path, mode_t mode) {
    char full[PATH_MAX];
    struct stat status;
    if (!resolve(dir, path, full)) return syscall(SYS_mkdirat, dir, path, mode);
    pthread_mutex_lock(&order);
    int result = syscall(SYS_mkdirat, dir, path, mode);
    int saved = errno;
    if (result == 0 && stat(full, &status) == 0) put_path('D', status.st_ino, full);
    pthread_mutex_unlock(&order);
    errno = saved;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

static int fails(int fd) {
    char path[PATH_MAX];
    if (!fail_every || !path_of_fd(fd, path) || !strstr(path, ".spool")) return 0;
    return __atomic_add_fetch(&spool_syncs, 1, __ATOMIC_SEQ_CST) % fail_every == 0;
}

static int sync_recorded(int fd, long call) {
    struct stat status;
    if (!recorded(fd, &status)) return syscall(call, fd);
    if (fails(fd)) {
        pthread_mutex_lock(&order);
        put('F', status.st_ino, 0, NULL, 0, NULL, 0);
        pthread_mutex_unlock(&order);
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&order);
    uint64_t number = ++syncs;
    put('B', status.st_ino, number, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    int result = syscall(call, fd);
    int saved = errno;
    pthread_mutex_lock(&order);
    if (result == 0) put('E', 0, number, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = saved;
    return result;
}

int fsync(int fd) { return sync_recorded(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_recorded(fd, SYS_fdatasync); }

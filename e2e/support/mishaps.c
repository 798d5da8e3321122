/* Faults of the machine on demand, for LD_PRELOAD on Linux: calls on files below a folder fail now and then, and the wall clock is another one.
 *
 * MISHAPS names a file that is mapped, of three numbers of four bytes: the errno of calls that fail, one in how many fails (0: none does), and by
 * how many seconds the wall clock is ahead. MISHAPS_BELOW names the folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int *control;
static const char *below;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("MISHAPS");
  below = getenv("MISHAPS_BELOW");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, 12, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) control = mapped;
  srandom((unsigned)getpid() * 2654435761u ^ (unsigned)time(NULL));
}

static int strikes(const char *path) {
  if (!control || !below || control[1] <= 0 || strncmp(path, below, strlen(below)) != 0 || random() % control[1] != 0) return 0;
  errno = control[0];
  return 1;
}

static int strikes_file(int file) {
  if (!control || control[1] <= 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  return strikes(path);
}

#define OWN(result, name, parameters, arguments, condition)                                  \
  result name parameters {                                                                   \
    static result(*real) parameters;                                                         \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);                         \
    return (condition) ? -1 : real arguments;                                                \
  }

OWN(ssize_t, read, (int file, void *into, size_t size), (file, into, size), strikes_file(file))
OWN(ssize_t, pread64, (int file, void *into, size_t size, off64_t at), (file, into, size, at), strikes_file(file))
OWN(ssize_t, write, (int file, const void *from, size_t size), (file, from, size), strikes_file(file))
OWN(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at), strikes_file(file))
OWN(int, fsync, (int file), (file), strikes_file(file))
OWN(int, fdatasync, (int file), (file), strikes_file(file))
OWN(int, rename, (const char *from, const char *to), (from, to), strikes(to))
OWN(int, mkdir, (const char *path, mode_t mode), (path, mode), strikes(path))

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += control[2];
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(now, zone);
  if (result == 0 && control) now->tv_sec += control[2];
  return result;
}

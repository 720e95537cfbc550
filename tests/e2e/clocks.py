"""A clock of one's own for a process: the real binary, with wall and monotonic time moved while it runs."""
import mmap
import os
import struct
import subprocess

from servers import program

# Two numbers in a file, mapped: seconds to add to the wall clock and to the monotonic one. System calls only: it
# comes before a sanitizer's own functions.
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static const volatile long* moved;
__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("TEST_CLOCK");
  if (path == NULL) return;
  const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) abort();
  moved = (const volatile long*)syscall(SYS_mmap, NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
}
int clock_gettime(clockid_t id, struct timespec* time) {
  if (syscall(SYS_clock_gettime, id, time) != 0) return -1;
  if (moved != NULL && id == CLOCK_REALTIME) time->tv_sec += moved[0];
  if (moved != NULL && id == CLOCK_MONOTONIC) time->tv_sec += moved[1];
  return 0;
}
"""


class TestClock:
    def __init__(self, case):
        source, self.library, self.path = (os.path.join(case.directory, n) for n in ("clock.c", "clock.so", "clock"))
        with open(source, "w", encoding="utf-8") as f:
            f.write(SOURCE)
        subprocess.run([program("cc"), "-O1", "-shared", "-fPIC", "-o", self.library, source], check=True)
        with open(self.path, "w+b") as f:
            f.write(bytes(16))
            f.flush()
            self._moved = mmap.mmap(f.fileno(), 16)
        case.addCleanup(self._moved.close)

    def env(self):
        """The environment of a process that runs by this clock."""
        asan = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
        return {"LD_PRELOAD": self.library, "TEST_CLOCK": self.path, "ASAN_OPTIONS": asan}

    def jump(self, seconds):
        """The wall clock alone, as an operator or NTP moves it."""
        wall, monotonic = struct.unpack("qq", self._moved[:])
        self._moved[:] = struct.pack("qq", wall + seconds, monotonic)

    def pass_by(self, seconds):
        """Time passes: both clocks."""
        wall, monotonic = struct.unpack("qq", self._moved[:])
        self._moved[:] = struct.pack("qq", wall + seconds, monotonic + seconds)

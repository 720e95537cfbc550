"""What the machine can do, and what /proc says about processes: shared by every scenario."""
import os
import resource
import shutil
import statistics
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVER_CPU, LOAD_CPU = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")
MB = 1e6


def read(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read()


def status_kib(pid, name):
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def rss_anon(pids):
    return sum(status_kib(pid, "RssAnon") for pid in pids) * 1024


def cpu_seconds(pids):
    """User and system time of the processes with all their threads."""
    total = 0
    for pid in pids:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def children(pid):
    """The process and those it started (nginx's workers)."""
    return [pid] + [int(c) for c in read(f"/proc/{pid}/task/{pid}/children").split()]


def meminfo_kib(name):
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def allow_many_files(wanted=40_000):
    """Raises the limit of open files as far as it may; how far that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return min(wanted, hard)


def drop_caches():
    """Empties the page cache. False when it may not."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("3\n")
        return True
    except OSError:
        return False


def warm(gigabytes):
    """Touches memory and gives it back. A virtual machine whose host backs memory on first touch charges
    microseconds for every new page, which would be counted against whoever touches it first."""
    left = int(gigabytes * 1e9)
    left = min(left, int(meminfo_kib("MemAvailable") * 1024 * 0.8))
    subprocess.run(["python3", "-c", f"b = bytearray({left})\nfor i in range(0, {left}, 4096): b[i] = 1"],
                   check=True)
    return left / 1e9


def fdatasync_us(directory, times):
    """Latencies of one 4 KiB page appended and synced."""
    path = os.path.join(directory, "probe")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    took = []
    for i in range(times):
        os.pwrite(fd, b"x" * 4096, i * 4096)
        start = time.monotonic()
        os.fdatasync(fd)
        took.append((time.monotonic() - start) * 1e6)
    os.close(fd)
    os.unlink(path)
    took.sort()
    return {"fdatasync_p50_us": statistics.median(took), "fdatasync_p99_us": took[int(len(took) * 0.99)]}


def write_bandwidth(directory, megabytes):
    """Sequential, in blocks of 4 MiB, synced at the end."""
    path = os.path.join(directory, "probe")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    block = os.urandom(4 << 20)
    start = time.monotonic()
    for i in range(megabytes >> 2):
        os.pwrite(fd, block, i * len(block))
    os.fdatasync(fd)
    took = time.monotonic() - start
    os.close(fd)
    os.unlink(path)
    return {"write_mb_per_s": (megabytes >> 2) * len(block) / took / MB}


def free_gb(directory):
    return shutil.disk_usage(directory).free / 1e9


def processor():
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"

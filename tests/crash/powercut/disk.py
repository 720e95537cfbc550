"""A file system on a disk that can lose power: nbdkit (plugin.py) -> nbdfuse -> loop device -> ext4.

Nothing in it is simulated above the block level: the file system, its journal, the page cache and
every flush are the kernel's own.
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def why_not():
    """Why a power cut cannot be produced on this machine, or None."""
    if os.geteuid() != 0:
        return "a power cut needs root (FUSE, a loop device, mount)"
    missing = [p for p in ("nbdkit", "nbdfuse", "losetup", "mkfs.ext4", "mount") if not shutil.which(p, path=PATH)]
    if missing:
        return f"a power cut needs {', '.join(missing)}"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(device):
            return f"a power cut needs {device}"
    if subprocess.run(["losetup", "-f"], capture_output=True, env={**os.environ, "PATH": PATH}).returncode != 0:
        return "a power cut needs a free loop device"
    return None


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": PATH},
                          stdin=subprocess.DEVNULL, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


class PowerDisk:
    """.mount is where the file system is while the power is on."""

    def __init__(self, megabytes=192):
        self.directory = tempfile.mkdtemp(prefix="weir-disk-")
        self.image = os.path.join(self.directory, "image")
        self.mount = os.path.join(self.directory, "mnt")
        self.fuse = os.path.join(self.directory, "fuse")
        os.makedirs(self.mount)
        os.makedirs(self.fuse)
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", self.image)
        self.nbdkit = self.nbdfuse = self.loop = self.control = None
        self.mounted = False

    def power_on(self):
        """Starts the disk with what the image holds and mounts it (the journal is replayed)."""
        sock, control = (os.path.join(self.directory, n) for n in ("nbd.sock", "control.sock"))
        for path in (sock, control):
            if os.path.exists(path):
                os.unlink(path)
        # Python of the system, whatever the environment's is: the plugin is embedded in nbdkit.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self.log = open(os.path.join(self.directory, "nbdkit.log"), "ab")
        self.nbdkit = subprocess.Popen(["nbdkit", "-f", "-U", sock, "python", os.path.join(HERE, "plugin.py"),
                                        f"image={self.image}", f"control={control}"], env=clean,
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self._until(lambda: os.path.exists(sock) and os.path.exists(control), "nbdkit")
        self.control = socket.socket(socket.AF_UNIX)
        self._until(lambda: self.control.connect_ex(control) == 0, "its control socket")
        self.answers = self.control.makefile("r")
        self.nbdfuse = subprocess.Popen(["nbdfuse", f"{self.fuse}/disk", "--unix", sock], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self._until(lambda: os.path.exists(f"{self.fuse}/disk"), "nbdfuse")
        self.loop = run("losetup", "-f", "--show", "--direct-io=on", f"{self.fuse}/disk")
        run("mount", "-o", "noatime,errors=continue", self.loop, self.mount)
        self.mounted = True

    def _until(self, condition, what):
        deadline = time.monotonic() + 15
        while not condition():
            if time.monotonic() > deadline or self.nbdkit.poll() is not None:
                with open(self.log.name, encoding="utf-8", errors="replace") as f:
                    raise RuntimeError(f"{what} did not start: {f.read()[-2000:]}")
            time.sleep(0.02)

    def order(self, **command):
        self.control.sendall((json.dumps(command) + "\n").encode())
        answer = json.loads(self.answers.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def fail(self, what, errno=5, times=-1, after=0):
        """From now on `what` ("write", "flush") answers errno; times < 0: until heal()."""
        return self.order(do="fail", what=what, errno=errno, times=times, after=after)

    def heal(self):
        return self.order(do="heal")

    def slow(self, seconds):
        return self.order(do="slow", seconds=seconds)

    def stats(self):
        return self.order(do="stats")

    def cut(self, keep="none", seed=0):
        """The power goes off now. End every process that has files here, then call down()."""
        return self.order(do="cut", keep=keep, seed=seed)

    def down(self):
        """Takes everything apart; the image stays as the cut left it."""
        if self.mounted:
            run("umount", self.mount, check=False)
            if os.path.ismount(self.mount):
                run("umount", "-l", self.mount, check=False)
            self.mounted = False
        if self.loop:
            run("losetup", "-d", self.loop, check=False)
            deadline = time.monotonic() + 10
            while self.loop in run("losetup", "-l", "-n", "-O", "NAME", check=False).split() and \
                    time.monotonic() < deadline:
                time.sleep(0.05)
            self.loop = None
        if self.control:
            self.answers.close()
            self.control.close()
            self.control = None
        if self.nbdfuse:
            run("fusermount3", "-u", "-z", self.fuse, check=False)
            self._end(self.nbdfuse)
            self.nbdfuse = None
        if self.nbdkit:
            self._end(self.nbdkit)
            self.nbdkit = None
            self.log.close()

    @staticmethod
    def _end(process):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self):
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

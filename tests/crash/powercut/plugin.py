"""An nbdkit plugin: a disk with a volatile write cache that can lose power, fail, or be slow.

Run by disk.py as: nbdkit -f -U socket python plugin.py image=FILE control=SOCKET

What a client wrote since the last flush is in `current` only; a flush copies it into the image
file, which is what a reboot finds. A power cut decides sector by sector what else made it.
The control socket takes one JSON command a line and answers one:
  {"do":"cut","keep":"none|all|random|prefix|torn","seed":1}   from now on every access fails
  {"do":"fail","what":"write|flush","errno":5,"times":1,"after":0}
  {"do":"slow","seconds":0.5}                                   each flush
  {"do":"stats"}
"""
import builtins
import json
import mmap
import os
import random
import socket
import threading
import time

import nbdkit

API_VERSION = 2
SECTOR = 512
EIO = 5

settings = {}
disk = None


class Disk:
    def __init__(self, path):
        self.file = builtins.open(path, "r+b")
        self.size = os.fstat(self.file.fileno()).st_size
        self.durable = mmap.mmap(self.file.fileno(), self.size)
        self.current = mmap.mmap(-1, self.size)
        self.copy_data_areas()
        self.pending = []           # (offset, length) in order, since the last flush
        self.dead = False
        self.slow = 0.0
        self.failures = []          # {"what", "errno", "times", "after"}
        self.counts = {"writes": 0, "flushes": 0, "failed": 0, "lost_sectors": 0, "kept_sectors": 0}
        self.lock = threading.Lock()

    def copy_data_areas(self):
        """Copies what the (sparse) image holds; the holes stay untouched zero pages."""
        fd, at = self.file.fileno(), 0
        while True:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                return
            at = os.lseek(fd, start, os.SEEK_HOLE)
            self.current[start:at] = self.durable[start:at]

    def check(self, what):
        """Raises what was ordered for this kind of access."""
        if self.dead:
            raise OSError(EIO, "no power")
        for failure in self.failures:
            if failure["what"] != what:
                continue
            if failure["after"] > 0:
                failure["after"] -= 1
                continue
            if failure["times"] == 0:
                continue
            failure["times"] -= 1
            self.counts["failed"] += 1
            raise OSError(failure["errno"], "as ordered")

    def write(self, data, offset, durable):
        with self.lock:
            self.check("write")
            self.counts["writes"] += 1
            self.current[offset:offset + len(data)] = data
            if durable:
                self.durable[offset:offset + len(data)] = data
            else:
                self.pending.append((offset, len(data)))

    def flush(self):
        if self.slow:
            time.sleep(self.slow)
        with self.lock:
            try:
                self.check("flush")
            except OSError:
                # As a real disk: what it could not write is gone from its cache.
                if not self.dead:
                    self.pending.clear()
                raise
            self.counts["flushes"] += 1
            for offset, length in self.pending:
                self.durable[offset:offset + length] = self.current[offset:offset + length]
            self.pending.clear()

    def cut(self, keep, seed):
        """Loses power: a part of the unflushed sectors reaches the image, the rest never does."""
        with self.lock:
            self.dead = True
            dice = random.Random(seed)
            writes = list(self.pending)
            torn = None
            if keep == "none":
                writes = []
            elif keep == "prefix":
                writes = writes[:dice.randint(0, len(writes))]
            elif keep == "torn" and writes:
                at = dice.randrange(len(writes))
                offset, length = writes[at]
                sectors = max(1, length // SECTOR)
                torn = (offset, dice.randrange(sectors) * SECTOR)
                writes = writes[:at]
            sectors = [s for offset, length in writes + ([torn] if torn and torn[1] else [])
                       for s in range(offset // SECTOR, (offset + length + SECTOR - 1) // SECTOR)]
            if keep == "random":
                sectors = [s for s in dict.fromkeys(sectors) if dice.random() < 0.5]
            for sector in sectors:
                at = sector * SECTOR
                self.durable[at:at + SECTOR] = self.current[at:at + SECTOR]
            everything = {s for offset, length in self.pending
                          for s in range(offset // SECTOR, (offset + length + SECTOR - 1) // SECTOR)}
            self.counts["kept_sectors"] = len(set(sectors))
            self.counts["lost_sectors"] = len(everything - set(sectors))
            self.durable.flush()
            return dict(self.counts)

    def command(self, order):
        if order["do"] == "cut":
            return self.cut(order["keep"], order.get("seed", 0))
        with self.lock:
            if order["do"] == "fail":
                self.failures.append({"after": 0, "times": -1, **order})
            elif order["do"] == "heal":
                self.failures.clear()
                self.slow = 0.0
            elif order["do"] == "slow":
                self.slow = order["seconds"]
            return {**self.counts, "pending_writes": len(self.pending)}


def serve_control(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as stream:
            for line in stream:
                try:
                    answer = disk.command(json.loads(line))
                except Exception as error:  # noqa: BLE001: the test sees it
                    answer = {"error": repr(error)}
                stream.write(json.dumps(answer) + "\n")
                stream.flush()


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def config(key, value):
    settings[key] = value


def after_fork():
    global disk
    disk = Disk(settings["image"])
    threading.Thread(target=serve_control, args=(settings["control"],), daemon=True).start()


def open(_readonly):    # noqa: A001: the name nbdkit asks for
    return 1


def get_size(_h):
    return disk.size


def can_fua(_h):
    return nbdkit.FUA_NATIVE


def can_multi_conn(_h):
    return True


def block_size(_h):
    return (SECTOR, 4096, 0xFFFFFFFF)


def pread(_h, buffer, offset, _flags):
    if disk.dead:
        nbdkit.set_error(EIO)
        raise RuntimeError("no power")
    buffer[:] = disk.current[offset:offset + len(buffer)]


def guarded(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        nbdkit.set_error(error.errno)
        raise RuntimeError(str(error)) from None


def pwrite(_h, buffer, offset, flags):
    guarded(disk.write, bytes(buffer), offset, bool(flags & nbdkit.FLAG_FUA))


def flush(_h, _flags):
    guarded(disk.flush)

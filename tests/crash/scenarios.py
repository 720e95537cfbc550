"""The crash scenarios: load, end it badly, start again, compare what was promised with what is there.

tests/crash/*_test.py run them in their short form, tests/crash/run as long as you like.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
sys.path.insert(0, os.path.join(HERE, "powercut"))
import harness  # noqa: E402
from disk import PowerDisk  # noqa: E402
from harness import Weir, central_server, destination, eventually  # noqa: E402
from load import Load  # noqa: E402

# Small segments, so that a short run seals, reopens and deletes some.
SETTINGS = {"store.segment_bytes": "4MiB", "store.state_bytes": "4MiB", "limits.event_bytes": "256KiB",
            "server.drain_seconds": "2", "store.reserve_bytes": "4MiB"}


class World:
    """A weir, a central server, a directory; leaves nothing behind."""

    def __init__(self, data=None, settings=None, **options):
        self.directory = tempfile.mkdtemp(prefix="weir-crash-")
        self.central, self.server = central_server.start(keep_events=False)
        self.weir = Weir(self.directory, data=data, settings={**SETTINGS, **(settings or {})},
                         destinations=[destination("central", self.server.server_address[1])], **options)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.weir.running():
            self.weir.kill()
        central_server.stop(self.server)
        if kind is not None:
            value.add_note(f"the end of weir's log:\n{self.weir.log()[-3000:]}") if hasattr(value, "add_note") else None
        shutil.rmtree(self.directory, ignore_errors=True)

    def verify(self):
        """weir store verify on the directory as it is: the problems it reports."""
        done = self.weir.cli("store", "verify", "--data", self.weir.data, "--json", server=False, timeout=120)
        try:
            return json.loads(done.stdout)["problems"]
        except (ValueError, KeyError):
            return [f"store verify ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"]


def missing_at(central, ids):
    return {i for i in ids if ("default", i) not in central.received}


def check_delivery(world, load, timeout=60):
    """Every acknowledged id is delivered, none is stored twice, no position was given twice."""
    central = world.central
    eventually(lambda: not missing_at(central, load.acknowledged),
               lambda: f"{len(missing_at(central, load.acknowledged))} of {len(load.acknowledged)} acknowledged "
                       f"ids never arrived, e.g. {sorted(missing_at(central, load.acknowledged))[:5]}", timeout)
    assert not load.wrong, f"wrong answers: {load.wrong[:3]}"
    twice = central.stored_twice()
    assert not twice, f"{len(twice)} ids were stored twice, e.g. {twice[:3]}"
    assert not central.conflicts, f"positions given twice: {central.conflicts[:3]}"


def kill_rounds(rounds, seconds, seed=1, connections=16, say=lambda _: None):
    """Load, kill -9 at a random moment, restart, repeat."""
    dice = random.Random(seed)
    with World() as world:
        world.weir.start()
        load = Load(world.weir, connections, seed)
        for number in range(rounds):
            time.sleep(dice.uniform(0.05, seconds))
            world.weir.kill()
            if dice.random() < 0.3:     # and again while it recovers
                world.weir.launch()
                time.sleep(dice.uniform(0.0, 0.3))
                world.weir.kill()
            world.weir.start(timeout=60)
            say(f"kill {number + 1}: {len(load.acknowledged)} acknowledged, {len(world.central.received)} delivered")
        time.sleep(0.5)
        load.stop()
        check_delivery(world, load)
        assert len(load.acknowledged) > 100, "the load never got going"
        assert world.weir.stop() == 0
        problems = world.verify()
        assert not problems, problems[:5]
        return {"acknowledged": len(load.acknowledged), "uncertain": len(load.uncertain)}


def power_rounds(rounds, seconds, seed=1, keeps=("none", "random", "prefix", "torn"), connections=12,
                 kill_first=False, slow_flush=0.0, env=None, say=lambda _: None, patience=60):
    """Load, cut the power, remount what reached the disk, restart, repeat.

    kill_first: kill -9, restart, let clients send what they had sent before and get "duplicate",
    then cut: what was only in the page cache after the kill must not have been believed.
    """
    dice = random.Random(seed)
    disk = PowerDisk()
    disk.power_on()
    totals = {"rounds": 0, "lost_sectors": 0}
    try:
        with World(data=os.path.join(disk.mount, "data")) as world:
            # What arrived before the cut would hide what the disk lost.
            world.central.fault(mode="status", status=503)
            world.weir.start(env=env)
            load = Load(world.weir, connections, seed)
            for number in range(rounds):
                if slow_flush:
                    disk.slow(slow_flush)
                time.sleep(dice.uniform(seconds / 3, seconds))
                if kill_first:
                    world.weir.kill()
                    world.weir.start(env=env, timeout=60)
                    time.sleep(dice.uniform(0.1, seconds / 2))
                keep = keeps[number % len(keeps)]
                counts = disk.cut(keep, dice.randrange(1 << 30))
                # Answers that were on their way when the power went are still answers.
                load.pause()
                world.weir.kill()
                disk.down()
                totals["rounds"] += 1
                totals["lost_sectors"] += counts["lost_sectors"]
                disk.power_on()
                world.weir.start(env=env, timeout=60)
                load.resume()
                say(f"cut {number + 1} ({keep}): {len(load.acknowledged)} acknowledged, {counts}")
            time.sleep(0.3)
            load.stop()
            world.central.fault()
            check_delivery(world, load, patience)
            assert len(load.acknowledged) > 50, "the load never got going"
            assert world.weir.stop() == 0
            problems = world.verify()
            assert not problems, problems[:5]
            return {"acknowledged": len(load.acknowledged), **totals}
    finally:
        disk.remove()


NO_SYNC_SOURCE = r"""
// Answers every sync with success and does nothing: a program that only believes it is durable.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/types.h>
int fsync(int fd) { (void)fd; return 0; }
int fdatasync(int fd) { (void)fd; return 0; }
int msync(void* a, size_t n, int f) { (void)a; (void)n; (void)f; return 0; }
int sync_file_range(int fd, off_t o, off_t n, unsigned f) { (void)fd; (void)o; (void)n; (void)f; return 0; }
static int opened(const char* name, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name);
  return real(path, flags & ~(O_DSYNC | O_SYNC), mode);
}
int open(const char* path, int flags, ...) {
  va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
  return opened("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
  return opened("open64", path, flags, mode);
}
"""


def without_sync(directory):
    """The environment that makes a program's syncs lies (LD_PRELOAD)."""
    source, library = (os.path.join(directory, n) for n in ("nosync.c", "nosync.so"))
    with open(source, "w", encoding="utf-8") as f:
        f.write(NO_SYNC_SOURCE)
    subprocess.run(["cc", "-w", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": library}


def forgets(seed=1):
    """Runs Weir with syncs that lie through power cuts; what was noticed, or None. It must be noticed."""
    directory = tempfile.mkdtemp(prefix="weir-nosync-")
    try:
        power_rounds(2, 1.5, seed, keeps=("none",), env=without_sync(directory), patience=8)
        return None
    except (AssertionError, RuntimeError) as error:
        return str(error)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def believed_after_a_kill(events=300):
    """What a killed process left in the page cache only, and the next one answered "duplicate" to.

    The first life runs with syncs that do nothing: after its kill the kernel holds commits the disk
    has never seen, as after a kill in the middle of a sync. The second life is honest. It may not
    believe what it reads before it has synced it, because its answers survive the cut that follows.
    """
    directory = tempfile.mkdtemp(prefix="weir-nosync-")
    disk = PowerDisk()
    disk.power_on()
    try:
        lies = without_sync(directory)
        with World(data=os.path.join(disk.mount, "data")) as world:
            world.central.fault(mode="status", status=503)
            world.weir.start(env=lies)
            ids = [f"believed-{i}" for i in range(events)]
            for i in ids:
                assert world.weir.post({"id": i, "name": "n"}).status == 200
            world.weir.kill()
            world.weir.start(timeout=60)
            answered = []
            for i in ids:
                answer = world.weir.post({"id": i, "name": "n"})
                assert answer.status == 200, answer
                answered.append(answer.json["duplicates"])
            disk.cut("none")
            world.weir.kill()
            disk.down()
            disk.power_on()
            world.central.fault()
            world.weir.start(timeout=60)
            eventually(lambda: not missing_at(world.central, ids),
                       lambda: f"{len(missing_at(world.central, ids))} of {events} ids are gone; "
                               f"{sum(answered)} of them were answered as duplicates", 30)
            assert not world.central.stored_twice()
            return {"duplicates": sum(answered)}
    finally:
        disk.remove()
        shutil.rmtree(directory, ignore_errors=True)

"""Writes and syncs that fail: refused for good, with the first reason, and never a later success."""
import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios  # noqa: E402
from disk import PowerDisk, why_not  # noqa: E402
from harness import event, eventually  # noqa: E402
from load import Load  # noqa: E402


class Latch:
    """What must hold after a failed sync, however it failed."""

    def refused_for_good(self, world):
        weir = world.weir
        eventually(lambda: self.status(weir) == 503, "503")
        answer = weir.post(event())
        self.assertEqual(answer.status, 503, answer)
        self.assertEqual(answer.json["code"], "sync_failed", answer)
        ready = weir.request("GET", "/readyz")
        self.assertEqual(ready.status, 503)
        self.assertEqual(weir.request("GET", "/livez").status, 200)
        eventually(lambda: weir.metric("weir_store_accepting") == 0, "the gauge", 5)
        reason = ready.body
        for _ in range(30):
            self.assertEqual(self.status(weir), 503)
        self.assertEqual(weir.request("GET", "/readyz").body, reason, "the original reason stays")
        self.assertIn("sync", weir.log().lower())

    @staticmethod
    def status(weir):
        return weir.post(event()).status


class FailedSync(unittest.TestCase, Latch):
    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("strace"), "needs root and strace")
    def test_one_failed_fdatasync_is_final_although_the_next_would_succeed(self):
        with scenarios.World() as world:
            world.weir.start()
            load = Load(world.weir, 4)
            time.sleep(0.5)
            tracer = subprocess.Popen(
                ["strace", "-f", "-q", "-o", "/dev/null", "-p", str(world.weir.process.pid), "-e", "trace=fdatasync",
                 "-e", "inject=fdatasync:error=EIO:when=3"], stdin=subprocess.DEVNULL)
            try:
                eventually(lambda: load.refused > 0, "refusals")
            finally:
                tracer.terminate()
                tracer.wait()
            load.stop()
            self.refused_for_good(world)
            world.weir.stop()
            world.weir.start(timeout=60)
            self.assertEqual(world.weir.post(event()).status, 200)
            again = Load(world.weir, 2, seed=9)
            time.sleep(0.3)
            again.stop()
            scenarios.check_delivery(world, load)
            self.assertEqual(world.weir.stop(), 0)
            self.assertEqual(world.verify(), [])


@unittest.skipIf(why_not(), why_not())
class FailingDisk(unittest.TestCase, Latch):
    def failing(self, what, errno, times):
        disk = PowerDisk()
        self.addCleanup(disk.remove)
        disk.power_on()
        with scenarios.World(data=os.path.join(disk.mount, "data")) as world:
            world.weir.start()
            load = Load(world.weir, 6)
            time.sleep(0.7)
            disk.fail(what, errno, times)
            eventually(lambda: load.refused > 0, "refusals")
            time.sleep(0.3)
            disk.heal()
            load.stop()
            # Positions cannot be stored on such a disk either: delivery may wait for the restart.
            self.refused_for_good(world)
            # What was acknowledged survives a cut and a restart on a healthy disk.
            world.central.fault(mode="status", status=503)
            disk.cut("none")
            world.weir.kill()
            disk.down()
            disk.power_on()
            world.central.fault()
            world.central.reset()
            world.weir.destinations[0]["name"] = "again"      # a new lane: everything once more
            world.weir.start(timeout=60)
            self.assertEqual(world.weir.post(event()).status, 200)
            scenarios.check_delivery(world, load)

    def test_flush_fails_once(self):
        self.failing("flush", 5, 1)

    def test_writes_fail(self):
        self.failing("write", 5, -1)

    def test_a_sync_that_hangs_answers_within_the_deadline(self):
        disk = PowerDisk()
        self.addCleanup(disk.remove)
        disk.power_on()
        with scenarios.World(data=os.path.join(disk.mount, "data"),
                             settings={"store.commit_deadline": "1s"}) as world:
            world.weir.start()
            self.assertEqual(world.weir.post(event()).status, 200)
            disk.slow(4)
            started = time.monotonic()
            answer = world.weir.post(event())
            self.assertLess(time.monotonic() - started, 3.5)
            self.assertEqual(answer.status, 503, answer)
            self.assertEqual(answer.json["code"], "outcome_unknown", answer)
            refused = world.weir.post(event())
            self.assertEqual(refused.status, 503, refused)
            self.assertEqual(world.weir.request("GET", "/livez").status, 200)
            disk.heal()
            eventually(lambda: world.weir.post(event()).status == 200, "accepting again", 30)

"""Real power cuts under load (powercut/disk.py): the only test that can show a missing sync."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios  # noqa: E402
from disk import PowerDisk, why_not  # noqa: E402
from harness import LONG  # noqa: E402


@unittest.skipIf(why_not(), why_not())
class Harness(unittest.TestCase):
    """First that the disk itself loses and keeps what it should: a check that cannot fail is none."""

    def test_01_unsynced_files_are_lost_and_synced_ones_are_not(self):
        disk = PowerDisk(64)
        self.addCleanup(disk.remove)
        disk.power_on()

        def write(name, sync):
            with open(os.path.join(disk.mount, name), "wb") as f:
                f.write(name.encode() * 2000)
                f.flush()
                if sync:
                    os.fsync(f.fileno())
        for i in range(20):
            write(f"synced{i}", True)
        for i in range(20):
            write(f"unsynced{i}", False)
        disk.cut("none")
        disk.down()
        disk.power_on()
        found = set(os.listdir(disk.mount)) - {"lost+found"}
        self.assertEqual(found, {f"synced{i}" for i in range(20)})

    def test_02_writes_in_the_drives_cache_are_lost_without_a_flush(self):
        disk = PowerDisk(64)
        self.addCleanup(disk.remove)
        disk.power_on()
        with open(os.path.join(disk.mount, "a"), "wb") as f:
            f.write(b"a" * 65536)
            f.flush()
            os.fsync(f.fileno())
        with open(os.path.join(disk.mount, "a"), "r+b", buffering=0) as f:
            f.write(b"b" * 65536)
            # Out of the page cache, into the drive; only a flush makes the drive keep it.
            done = subprocess.run([sys.executable, "-c", "import os,ctypes,sys\n"
                                   "ctypes.CDLL(None).sync_file_range(int(sys.argv[1]),ctypes.c_long(0),"
                                   "ctypes.c_long(0),7)", str(f.fileno())], pass_fds=[f.fileno()])
            self.assertEqual(done.returncode, 0)
        self.assertGreater(disk.stats()["pending_writes"], 0)
        self.assertGreater(disk.cut("none")["lost_sectors"], 100)
        disk.down()
        disk.power_on()
        with open(os.path.join(disk.mount, "a"), "rb") as f:
            self.assertEqual(f.read(), b"a" * 65536)

    def test_03_a_server_whose_syncs_do_nothing_is_caught(self):
        noticed = scenarios.forgets()
        self.assertIsNotNone(noticed, "Weir without a single sync passed: these tests prove nothing")
        print("     caught:", noticed.splitlines()[0][:120])


@unittest.skipIf(why_not(), why_not())
class PowerCut(unittest.TestCase):
    def test_01_cut_under_load(self):
        print("    ", scenarios.power_rounds(rounds=60 if LONG else 8, seconds=1.0))

    def test_02_kill_restart_duplicate_then_cut(self):
        scenarios.power_rounds(rounds=30 if LONG else 4, seconds=0.8, seed=2, kill_first=True)

    def test_03_what_only_the_page_cache_knew_is_synced_before_it_is_believed(self):
        print("    ", scenarios.believed_after_a_kill())

    def test_04_cut_with_slow_flushes(self):
        scenarios.power_rounds(rounds=20 if LONG else 2, seconds=1.5, seed=3, slow_flush=0.1,
                               keeps=("random", "none"))

"""A machine that says no: io_uring denied, locked memory, open files, a full disk."""
import os
import resource
import subprocess
import time

import harness
from harness import Case, Raw, destination, event, eventually, limit, need_program, need_root, request, without_io_uring


class Denied(Case):
    def ends_with(self, weir, prepare, *words):
        started = time.monotonic()
        weir.launch(prepare)
        code = weir.process.wait(10)
        weir.process = None
        self.assertEqual(code, 1, weir.log())
        self.assertLess(time.monotonic() - started, 5)
        for word in words:
            self.assertIn(word.lower(), weir.log().lower())

    def test_io_uring_denied_by_seccomp_names_the_cause_and_the_cure(self):
        self.ends_with(self.weir(start=False), without_io_uring(), "io_uring", "seccomp")

    def test_io_uring_not_in_the_kernel(self):
        self.ends_with(self.weir(start=False), without_io_uring(38), "io_uring", "kernel")

    @need_root()
    def test_too_little_locked_memory_is_named_or_made_do_with(self):
        weir = self.weir(start=False)
        os.chmod(self.directory, 0o777)
        os.chmod(weir.directory, 0o777)
        reachable = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", harness.BINARY, "version"],
                                   capture_output=True)
        if reachable.returncode != 0:
            self.skipTest("an unprivileged user cannot run the binary here")

        def prepare():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        weir.launch(prepare)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and weir.running():
            try:
                if request(weir.ingest, "GET", "/livez", timeout=2).status == 200:
                    self.assertStatus(weir.post(event()), 200)
                    return
            except OSError:
                time.sleep(0.1)
        self.assertFalse(weir.running(), "neither serving nor ended")
        weir.process = None
        self.assertIn("memlock", weir.log().lower())


class Descriptors(Case):
    def test_out_of_file_descriptors_recovers(self):
        weir = self.weir(start=False, shards=1)
        weir.start(limit(resource.RLIMIT_NOFILE, 96, 96))
        self.assertStatus(weir.post(event()), 200)
        connections = []
        for _ in range(200):
            try:
                connections.append(Raw(weir.ingest, timeout=1))
            except OSError:
                break
        time.sleep(0.5)
        self.assertTrue(weir.running())
        for connection in connections:
            connection.close()
        eventually(lambda: self.try_post(weir), "served again")

    def try_post(self, weir):
        try:
            return weir.post(event(), timeout=3).status == 200
        except OSError:
            return False


@need_root()
@need_program("mount", "umount")
class FullDisk(Case):
    """A small file system, filled from outside and freed again."""

    def mounted(self, kind):
        path = os.path.join(self.directory, "disk")
        os.makedirs(path)
        if kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", path], check=True)
        else:
            image = os.path.join(self.directory, "image")
            with open(image, "wb") as f:
                f.truncate(160 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            done = subprocess.run(["mount", "-o", "loop", image, path], capture_output=True, text=True)
            if done.returncode != 0:
                self.skipTest(f"no loop device: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=False)
        return path

    def fill(self, path, leave):
        free = os.statvfs(path)
        ballast = os.path.join(path, "ballast")
        size = free.f_bavail * free.f_frsize - leave
        with open(ballast, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(size, 4096))
        return ballast

    def fills_and_frees(self, kind, reserve):
        disk = self.mounted(kind)
        central = self.central()
        weir = self.weir(data=os.path.join(disk, "data"), destinations=[destination("d", central.port)],
                         settings={"store.segment_bytes": "8MiB", "store.state_bytes": "4MiB", "limits.event_bytes": "64KiB",
                                   "store.reserve_bytes": reserve})
        first = [event() for _ in range(100)]
        self.assertStatus(weir.post(first), 200)
        central.fault(mode="status", status=500)
        acknowledged = [e["id"] for e in first]
        ballast = self.fill(disk, 3 << 20)

        def refused():
            events = [event(p="x" * 2000) for _ in range(100)]
            answer = weir.post(events)
            if answer.status == 200:
                acknowledged.extend(e["id"] for e in events)
                return None
            return answer
        answer = eventually(refused, "refusal on a full disk", 60)
        self.assertStatus(answer, 503)
        self.assertGreater(int(answer.header("retry-after")), 0)
        self.assertEqual(weir.request("GET", "/readyz").status, 503)
        self.assertStatus(weir.request("GET", "/livez"), 200)
        eventually(lambda: weir.metric("weir_store_accepting") == 0, "the gauge", 5)
        central.fault()
        self.assertArrives(central, acknowledged)       # it drains while full
        os.unlink(ballast)
        later = event()
        eventually(lambda: weir.post(later).status == 200, "accepting again by itself", 30)
        self.assertArrives(central, [later["id"]])
        self.assertEqual(weir.request("GET", "/readyz").status, 200)
        self.assertEqual(weir.stop(), 0)
        done = weir.cli("store", "verify", "--data", weir.data, server=False)
        self.assertEqual(done.returncode, 0, done)

    def test_ext4_with_a_reserve(self):
        self.fills_and_frees("ext4", "8MiB")

    def test_ext4_really_full(self):
        self.fills_and_frees("ext4", "0")

    def test_tmpfs_really_full(self):
        self.fills_and_frees("tmpfs", "0")

    def test_a_full_disk_at_start_still_drains(self):
        disk = self.mounted("ext4")
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(data=os.path.join(disk, "data"), destinations=[destination("d", central.port)],
                         settings={"store.segment_bytes": "8MiB", "store.state_bytes": "4MiB", "limits.event_bytes": "64KiB",
                                   "server.drain_seconds": "1"})
        ids = [harness.unique() for _ in range(50)]
        self.assertStatus(weir.post([event(id=i) for i in ids]), 200)
        weir.kill()
        self.fill(disk, 0)
        central.fault()
        weir.start()
        self.assertArrives(central, ids)

    def test_store_max_bytes_refuses_instead_of_losing(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("d", central.port)],
                         settings={"store.segment_bytes": "2MiB", "store.max_bytes": "24MiB", "limits.event_bytes": "64KiB",
                                   "store.state_bytes": "4MiB"})
        ids = []

        def refused():
            events = [event(p="x" * 2000) for _ in range(200)]
            answer = weir.post(events)
            if answer.status == 200:
                ids.extend(e["id"] for e in events)
                return None
            return answer
        self.assertStatus(eventually(refused, "refusal", 60), 503)
        central.fault()
        self.assertArrives(central, ids, timeout=60)
        eventually(lambda: weir.post(event()).status == 200, "space again", 30)

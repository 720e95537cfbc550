"""Under pressure: readiness first, then low, then normal events; rates of keys."""
import os
import subprocess
import time

import harness
from harness import Case, destination, event, eventually

SMALL = {"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"}


class Pressure(Case):
    def one(self, weir, priority):
        return weir.post(event(priority=priority, p="x" * 10))

    def fill(self, weir, until, what, size):
        """Posts high events until the condition holds; what was answered meanwhile."""
        statuses = []

        def step():
            if until():
                return True
            statuses.append(weir.post([event(priority="high", p="x" * size) for _ in range(50)]).status)
            return False
        eventually(step, what, timeout=60)
        return statuses

    def assertSheds(self, weir, priority, cause):
        answer = self.one(weir, priority)
        self.assertStatus(answer, 503)
        self.assertGreater(int(answer.header("retry-after")), 0)
        self.assertEqual(answer.json["code"], f"shed_{priority}_{cause}")
        self.assertGreater(weir.metric("weir_events_shed_total", priority=priority, cause=cause), 0)

    def steps(self, weir, cause, size):
        """Readiness, low, normal, each before the next; high events are taken all the time."""
        red = lambda: weir.request("GET", "/readyz").status == 503  # noqa: E731
        seen = self.fill(weir, red, "a red readiness", size)
        self.assertEqual(set(seen), {200})
        self.assertEqual(weir.request("GET", "/readyz").json["reason"], f"{cause}_watermark")
        self.assertStatus(weir.get_admin("/readyz"), 503)
        seen = self.fill(weir, lambda: self.one(weir, "low").status == 503, "low events shed", size)
        self.assertEqual(set(seen) - {200}, set())
        self.assertSheds(weir, "low", cause)
        self.assertStatus(self.one(weir, "high"), 200)
        seen = self.fill(weir, lambda: self.one(weir, "normal").status == 503, "normal events shed", size)
        self.assertEqual(set(seen) - {200}, set())
        self.assertSheds(weir, "normal", cause)
        self.assertStatus(self.one(weir, "high"), 200)
        mixed = weir.post([event(id="m-low", priority="low"), event(id="m-high", priority="high")])
        self.assertStatus(mixed, 200)
        self.assertEqual(mixed.json["accepted"], 1)
        self.assertEqual(mixed.json["results"][0]["reason"], f"shed_low_{cause}")

    def relaxed(self, weir):
        eventually(lambda: weir.request("GET", "/readyz").status == 200, "ready again")
        eventually(lambda: self.one(weir, "low").status == 200, "low events again")

    def test_01_lag_sheds_in_steps_and_ends_by_itself(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("d", central.port, max_backlog_bytes="8MiB")],
                         settings={**SMALL, "limits.ready_percent": 30, "limits.shed_low_percent": 45,
                                   "limits.shed_normal_percent": 60})
        self.steps(weir, "lag", 2000)
        self.assertGreaterEqual(weir.metric("weir_pressure_percent", cause="lag"), 60)
        self.assertEqual(weir.metric("weir_pressure_level"), 3)
        self.assertIn("event=pressure", weir.log())
        central.fault()
        self.relaxed(weir)

    def test_02_the_store_sheds_in_steps(self):
        weir = self.weir(settings={**SMALL, "store.max_bytes": "32MiB", "store.state_bytes": "1MiB",
                                   "limits.ready_percent": 30, "limits.shed_low_percent": 45,
                                   "limits.shed_normal_percent": 60})
        self.steps(weir, "disk", 6000)

    def test_03_a_small_disk_sheds_before_it_is_full(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to mount a tmpfs")
        disk = os.path.join(self.directory, "disk")
        os.mkdir(disk)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True)
        if done.returncode != 0:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk])
        weir = self.weir(data=os.path.join(disk, "data"),
                         settings={**SMALL, "store.state_bytes": "1MiB", "store.reserve_bytes": "16MiB",
                                   "limits.ready_percent": 55, "limits.shed_low_percent": 65,
                                   "limits.shed_normal_percent": 75})
        self.steps(weir, "disk", 6000)
        ballast = os.path.join(disk, "ballast")
        with open(ballast, "wb") as f:
            f.write(b"x" * (8 << 20))
        # The limit itself refuses everybody.
        eventually(lambda: self.one(weir, "high").status == 503, "full")
        self.assertEqual(self.one(weir, "high").json["code"], "disk_full")
        os.unlink(ballast)
        eventually(lambda: self.one(weir, "high").status == 200, "room again")
        weir.stop()

    def test_04_the_priority_of_the_key_counts(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("d", central.port, max_backlog_bytes="8MiB")],
                         keys=[{"key": "bulk", "priority": "low"}, {"key": "orders", "priority": "high"}],
                         settings={**SMALL, "limits.ready_percent": 20, "limits.shed_low_percent": 30,
                                   "limits.shed_normal_percent": 90})
        send = lambda key, n=1: weir.post([event(p="x" * 1000) for _ in range(n)],  # noqa: E731
                                          headers={"X-Write-Key": key}).status

        def shed():
            self.assertEqual(send("orders", 100), 200)
            return send("bulk") == 503
        eventually(shed, "the bulk key's events are shed", timeout=60)
        self.assertEqual(send("orders"), 200)


class Rates(Case):
    def test_05_a_key_over_its_rate_is_told_when_to_come_back(self):
        weir = self.weir(keys=[{"key": "slow", "name": "shop", "rate": 20, "rate_burst": 5}, {"key": "free"}])
        post = lambda key: weir.post(event(), headers={"X-Write-Key": key})  # noqa: E731
        answers = [post("slow") for _ in range(12)]
        over = [a for a in answers if a.status == 429]
        self.assertGreaterEqual(len([a for a in answers if a.status == 200]), 5)
        self.assertTrue(over, [a.status for a in answers])
        self.assertError(over[0], 429, "rate_limited")
        self.assertGreater(int(over[0].header("retry-after")), 0)
        self.assertEqual(weir.metric("weir_rate_limited_requests_total", key="shop"), len(over))
        self.assertStatus(post("free"), 200)
        eventually(lambda: post("slow").status == 200, "tokens again")

    def test_06_all_shards_together_keep_the_rate(self):
        weir = self.weir(keys=[{"key": "slow", "rate": 100, "rate_burst": 10}], shards=4)
        started = time.monotonic()
        taken = 0
        while time.monotonic() - started < 2:
            taken += weir.post(event(), headers={"X-Write-Key": "slow"}).status == 200
        seconds = time.monotonic() - started
        self.assertLessEqual(taken, 10 + 100 * seconds + 4)
        self.assertGreater(taken, 20)
        self.assertIsNotNone(harness)

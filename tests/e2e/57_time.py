"""Hours and days on the running binary: a destination that fails for days, a wall clock that jumps."""
import statistics
import time

from clocks import TestClock
from harness import destination, event, eventually, request
from sinks import SinkCase

HOUR = 3600


class Hours(SinkCase):
    def test_01_500_for_days_backs_off_to_the_cap_and_ends_with_the_window(self):
        """The retry options as they are by default: 500 ms to 5 min, three days."""
        clock = TestClock(self)
        central = self.central()
        central.fault(mode="status", status=500, body="still broken")
        weir = self.weir(start=False, destinations=[
            {"name": "d", "url": f"http://127.0.0.1:{central.port}/in", "batch": {"linger": "20ms"}, "concurrency": 1}])
        weir.start(env=clock.env())
        first = self.send(weir, 20)
        eventually(lambda: central.requests, "an attempt")

        def another_hour():
            before = len(central.requests)
            # An attempt that is still under way would be an hour old.
            eventually(lambda: weir.metric("weir_forward_attempts_total") >= before, "its outcome")
            clock.pass_by(HOUR)
            ids = self.send(weir, 1)        # a commit wakes who sleeps by the old time
            eventually(lambda: len(central.requests) > before, lambda: f"no attempt\n{weir.log()[-1500:]}")
            return ids
        later = [i for _ in range(71) for i in another_hour()]
        self.settles(weir, failed=0, pending=91)
        self.complains(weir, "still broken")
        for _ in range(2):
            later += another_hour()
        self.settles(weir, failed=20, pending=len(later))       # what was tried for three days, and nothing else
        self.assertEqual(weir.metric("weir_events_expired_total", lane="d", reason="retry_window"), 20)
        (row,) = weir.get_admin("/api/v1/failed/expired").json["expired"]
        self.assertEqual((row["reason"], row["events"]), ("retry_window", 20))
        central.fault()
        later += self.send(weir, 1)
        clock.pass_by(HOUR)
        later += self.send(weir, 1)
        self.assertArrives(central, later)
        self.assertEqual(weir.cli("failed", "requeue", "--expired").returncode, 0)
        self.assertArrives(central, first)
        self.settles(weir, failed=0, pending=0, sent=len(first + later))

    def test_02_pauses_grow_to_the_cap_and_no_further(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("d", central.port, retry={"base": "5ms", "cap": "200ms"})])
        ids = self.send(weir, 8)
        eventually(lambda: len(central.requests) >= 26, lambda: central.requests)
        times = [r[0] for r in central.requests]
        gaps = [after - before for before, after in zip(times, times[1:])]
        self.assertLess(statistics.mean(gaps[:3]), statistics.mean(gaps[8:]))
        self.assertLess(statistics.mean(gaps[8:]), 0.5)         # without a cap they would be hours by now
        central.fault()
        self.assertArrives(central, ids)


class Jumps(SinkCase):
    def test_03_a_wall_clock_that_jumps_an_hour_delays_loses_and_repeats_nothing(self):
        for seconds in (-HOUR, HOUR):
            with self.subTest(seconds):
                clock = TestClock(self)
                central = self.central()
                central.fault(mode="status", status=503)
                weir = self.weir(start=False, destinations=[destination("d", central.port, retry={"cap": "500ms"})])
                weir.start(env=clock.env())
                ids = self.send(weir, 20)
                lease = request(weir.admin, "POST", "/pull/v1/central/lease", {"lease_seconds": 60}).json
                self.assertEqual([e["id"] for e in lease["events"]], ids)
                eventually(lambda: len(central.requests) >= 3, "attempts")
                clock.jump(seconds)
                before = len(central.requests)
                eventually(lambda: len(central.requests) >= before + 2, "attempts go on", 5)
                answer = weir.post([event(id=i) for i in ids[:10]] + [event(id=f"new{seconds}")])
                self.assertEqual((answer.json["accepted"], answer.json["duplicates"]), (1, 10))
                ids.append(f"new{seconds}")
                ack = request(weir.admin, "POST", "/pull/v1/central/ack", {"lease": lease["lease"]})
                self.assertEqual((ack.status, ack.json["acked"]), (200, 20))     # the lease was still held
                weir.kill()
                weir.start(env=clock.env())
                clock.jump(-seconds)                                            # and back, after a restart
                central.fault()
                started = time.monotonic()
                self.assertArrives(central, ids)
                self.assertLess(time.monotonic() - started, 10)
                self.settles(weir, sent=21, failed=0, pending=0)
                self.assertFalse(central.stored_twice())
                answer = weir.post([event(id=i) for i in ids])
                self.assertEqual(answer.json["duplicates"], 21)
                self.assertEqual(weir.metric("weir_events_expired_total"), 0)

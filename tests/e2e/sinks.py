"""What every destination's test asks: a stream of events, its receiver killed twice in the middle."""
import json

import harness
from harness import Case, event, eventually, unique


def redis_ids(server):
    return [entry["id"] for entry in server.entries()]


def postgresql_ids(server, table="weir_events"):
    try:
        return server.sql(f"SELECT id FROM {table}")
    except OSError as error:
        if "does not exist" in str(error):
            return []
        raise


def clickhouse_ids(server):
    try:
        return server.sql("SELECT id FROM weir_events FINAL")
    except OSError as error:
        if "Code: 60" in str(error):
            return []
        raise


FAST = {"batch": {"linger": "20ms"}, "retry": harness.FAST_RETRY}


class SinkCase(Case):
    def sink(self, name="d", **settings):
        """A [[destinations]] entry that is quick to retry."""
        return {"name": name, **{k: dict(v) for k, v in FAST.items()}, **settings}

    def send(self, weir, n, **fields):
        ids = [unique() for _ in range(n)]
        answer = self.assertStatus(weir.post([event(id=i, **fields) for i in ids]), 200)
        self.assertEqual(answer.json["accepted"], n)
        return ids

    def destination(self, weir, name="d"):
        return weir.stats()["destinations"][name]

    def last_error(self, weir, name="d"):
        return weir.get_admin("/api/v1/live-counters").json["destinations"][name]["last_error"]

    def complains(self, weir, words, name="d"):
        """The destination's last error says so."""
        eventually(lambda: words in self.last_error(weir, name),
                   lambda: f"{self.last_error(weir, name)!r}, not {words!r}\n{weir.log()[-1500:]}")

    def settles(self, weir, name="d", timeout=harness.PATIENCE, **want):
        eventually(lambda: all(self.destination(weir, name)[k] == v for k, v in want.items()),
                   lambda: f"{self.destination(weir, name)}, not {want}\n{weir.log()[-1500:]}", timeout)

    def failed(self, weir, n):
        """The n dead letters there are in the end."""
        def rows():
            done = weir.cli("failed", "list", "--json")
            self.assertEqual(done.returncode, 0, done)
            listed = json.loads(done.stdout)
            listed = listed if isinstance(listed, list) else listed.get("failed", listed.get("events", []))
            return listed if len(listed) == n else None
        return eventually(rows, f"{n} failed events")

    def assertExactly(self, ids, arrived, timeout=harness.PATIENCE):
        """arrived() lists ids with repetitions: in the end each of ours is there and no other."""
        wanted = set(ids)
        eventually(lambda: set(arrived()) >= wanted,
                   lambda: f"{len(wanted - set(arrived()))} of {len(wanted)} are missing", timeout)
        self.assertEqual(set(arrived()), wanted)

    def survives_weirs_death(self, weir, arrived, rounds=4, per_round=300):
        """Weir is killed between sends and marks; what is sent again under its id is not there twice."""
        ids = []
        for _ in range(rounds):
            ids += self.send(weir, per_round)
            weir.kill()
            weir.start()
        self.assertExactly(ids, arrived)
        self.settles(weir, sent=len(ids), failed=0, pending=0)
        return ids

    def isolates_one_poison_row(self, weir, poison, reason, counted):
        """One event among many that the receiver's table refuses stands alone; counted() is (rows, their sum)."""
        n = 10_000 if harness.LONG else 2_000
        events = [event(id=f"e{i}", user_id="nobody" if i == poison else str(i)) for i in range(n)]
        before = self.destination(weir)["sent"]
        for at in range(0, n, 500):
            self.assertStatus(weir.post(events[at:at + 500]), 200)
        self.settles(weir, sent=before + n - 1, failed=1, pending=0)
        letter, = self.failed(weir, 1)
        self.assertEqual(letter["event_id"], f"e{poison}")
        self.assertRegex(letter["reason"], reason)
        self.assertEqual(counted(), (before + n - 1, sum(range(n)) - poison))
        return letter

    def a_dropped_table_comes_back(self, weir, server, arrived):
        self.send(weir, 10)
        self.settles(weir, sent=10)
        server.sql("DROP TABLE weir_events")
        self.assertExactly(self.send(weir, 10), arrived)
        self.settles(weir, sent=20, failed=0)

    def survives_death(self, weir, server, arrived, rounds=6, per_round=300):
        """Down at the start, killed while events stream in, started again, twice."""
        ids = self.send(weir, per_round)                 # down at the start
        eventually(lambda: weir.metric("weir_forward_attempts_total", destination="d", **{"class": "network"}) > 0,
                   lambda: f"no attempt failed\n{weir.log()[-1500:]}")
        server.start()
        for number in range(rounds):
            ids += self.send(weir, per_round)
            if number in (1, 3):
                eventually(lambda: self.destination(weir)["sent"] > 0, "something is sent")
                server.pause()                           # it dies with a batch in its hands
                ids += self.send(weir, per_round)
                eventually(lambda: weir.metric("weir_forward_in_flight_batches", destination="d") > 0, "a batch in flight")
                server.kill()
                ids += self.send(weir, per_round)
                server.start()
        self.assertExactly(ids, arrived)
        self.settles(weir, sent=len(ids), failed=0, pending=0)
        return ids

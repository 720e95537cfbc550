"""PostgreSQL: the real server, killed, full of poison, without its table, without connections."""
import datetime
import threading
import time

import harness
from harness import event, eventually
from servers import Postgresql
from sinks import SinkCase, postgresql_ids


class Rows(SinkCase):
    def pair(self, server, **settings):
        return self.weir(destinations=[self.sink(type="postgresql", url=server.url(), **settings)])

    def test_01_survives_its_death_and_no_row_is_there_twice(self):
        server = Postgresql(self)
        weir = self.pair(server)
        ids = self.survives_death(weir, server, lambda: postgresql_ids(server))
        self.assertEqual(sorted(postgresql_ids(server)), sorted(ids))

    def test_02_columns_hold_what_the_event_said(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        raw = ('{"id":"e1","name":"buy","user_id":"u\\\\1\\t2","timestamp":"2024-02-29T12:00:00.5Z",'
               '"lone":"\\ud83d","big":123456789012345678901234567890}')
        self.assertStatus(weir.post(raw), 200)
        eventually(lambda: postgresql_ids(server) == ["e1"], "the row")
        row, = server.sql("SELECT tenant, name, source, \"timestamp\" AT TIME ZONE 'UTC', priority FROM weir_events")
        self.assertEqual(row.split("\t"), ["default", "buy", "native", "2024-02-29 12:00:00.5", "normal"])
        self.assertEqual(server.sql("SELECT length(user_id), raw::text = $q$" + raw + "$q$ FROM weir_events"), ["5\tt"])
        day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
        self.assertEqual(server.sql(f"SELECT count(*) FROM weir_events_p{day}"), ["1"])

    def test_03_one_poison_row_among_many_stands_alone(self):
        server = Postgresql(self).start()
        weir = self.pair(server, batch={"linger": "200ms", "max_events": 1000})
        weir.post(event(id="first"))
        self.settles(weir, sent=1)
        server.sql("ALTER TABLE weir_events ALTER COLUMN user_id TYPE integer USING NULL")
        letter = self.isolates_one_poison_row(
            weir, 777, "^sqlstate_22P02$",
            lambda: tuple(map(int, server.sql("SELECT count(*), sum(user_id) FROM weir_events")[0].split("\t"))))
        self.assertIn("nobody", letter.get("detail", "nobody"))

    def test_11_weir_dies_between_commit_and_mark(self):
        server = Postgresql(self).start()
        ids = self.survives_weirs_death(self.pair(server), lambda: postgresql_ids(server))
        self.assertEqual(len(postgresql_ids(server)), len(ids))

    def test_10_what_text_cannot_hold_is_replaced_not_refused(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        self.assertStatus(weir.post(event(id="e1", user_id="nul\u0000"), headers={"User-Agent": "Mot\xf6r"}), 200)
        self.settles(weir, sent=1, failed=0)
        self.assertEqual(server.sql("SELECT user_id, raw::text LIKE '%nul_u0000%' FROM weir_events"), ["nul\ufffd\tt"])

    def test_04_a_table_of_ones_own_with_its_own_rules(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        self.send(weir, 1)
        self.settles(weir, sent=1)
        server.sql("ALTER TABLE weir_events ADD CONSTRAINT known CHECK (name <> 'banned')")
        weir.post([event(id="bad", name="banned"), event(id="good")])
        self.settles(weir, sent=2, failed=1, pending=0)
        letter, = self.failed(weir, 1)
        self.assertEqual((letter["event_id"], letter["reason"]), ("bad", "sqlstate_23514"))

    def test_05_a_dropped_table_comes_back_and_nothing_fails(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        self.a_dropped_table_comes_back(weir, server, lambda: postgresql_ids(server))

    def test_06_without_create_table_a_missing_table_or_partition_is_waited_for(self):
        server = Postgresql(self).start()
        weir = self.pair(server, create_table=False, table="public.mine")
        ids = self.send(weir, 10)
        self.complains(weir, "does not exist")
        # The same columns without partitions.
        made = self.pair(server, table="template")
        self.send(made, 1)
        self.settles(made, sent=1)
        server.sql("CREATE TABLE mine (LIKE template) PARTITION BY RANGE (day)")
        self.complains(weir, "no partition")
        self.settles(weir, failed=0, pending=10)
        server.sql("CREATE TABLE mine_all PARTITION OF mine DEFAULT")
        self.assertExactly(ids, lambda: postgresql_ids(server, "mine"))

    def test_07_a_lock_holds_back_nobody_else(self):
        server = Postgresql(self).start()
        central = self.central()
        weir = self.weir(destinations=[self.sink(type="postgresql", url=server.url(), request_timeout="1s"),
                                       harness.destination("good", central.port)])
        self.send(weir, 1)
        self.settles(weir, sent=1)
        holder = threading.Thread(target=server.sql, args=(
            "BEGIN; LOCK TABLE weir_events IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT",))
        holder.start()
        eventually(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' "
                                      "AND relation = 'weir_events'::regclass") != ["0"], "the lock")
        ids = self.send(weir, 50)
        self.assertArrives(central, ids, timeout=3)
        self.settles(weir, sent=51, failed=0, pending=0)
        holder.join()

    def test_08_a_terminated_connection_and_a_wrong_password_are_retried(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        self.send(weir, 5)
        self.settles(weir, sent=5)
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir'")
        self.send(weir, 5)
        self.settles(weir, sent=10, failed=0)
        other = self.weir(destinations=[self.sink(type="postgresql", url=server.url().replace("weir@", "nobody@"))])
        self.send(other, 5)
        self.complains(other, "nobody")
        self.settles(other, failed=0, pending=5)

    def test_09_a_hanging_server_does_not_hold_up_the_end(self):
        server = Postgresql(self).start()
        weir = self.pair(server)
        self.send(weir, 5)
        self.settles(weir, sent=5)
        server.pause()
        ids = self.send(weir, 5)
        time.sleep(0.3)
        started = time.monotonic()
        weir.signal(15)
        self.assertEqual(weir.wait(40), 0)
        self.assertLess(time.monotonic() - started, 20)
        server.resume()
        weir.start()
        self.settles(weir, sent=10, failed=0)
        self.assertLessEqual(set(ids), set(postgresql_ids(server)))

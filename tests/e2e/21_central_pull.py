"""tools/central pull: several servers, several edges, killed in between, each event exactly once."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from harness import Case, ROOT, event, eventually, free_port, unique

CENTRAL = os.path.join(ROOT, "tools", "central", "central.py")
CLICKHOUSE = shutil.which("clickhouse-server") or shutil.which("clickhouse")


class PullingCase(Case):
    def setUp(self):
        super().setUp()
        self.out = os.path.join(self.directory, "out")
        self.pullers = []
        self.addCleanup(self.end_pullers)

    def end_pullers(self):
        for puller in self.pullers:
            if puller.poll() is None:
                puller.kill()
            puller.wait()

    def pull(self, *arguments, sink=None, env=None):
        command = [sys.executable, "-B", CENTRAL, "pull", *(sink or ("--out", self.out)), *arguments]
        puller = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, **(env or {})})
        self.pullers.append(puller)
        return puller

    def run_once(self, *arguments, sink=None, env=None):
        puller = self.pull("--once", *arguments, sink=sink, env=env)
        _, errors = puller.communicate(timeout=60)
        return puller.returncode, errors

    def check(self, sink=None):
        output, errors = self.pull("--check", sink=sink).communicate(timeout=60)
        self.assertTrue(output, errors)
        return json.loads(output)

    def lines(self):
        found = []
        for path in glob.glob(os.path.join(self.out, "*.ndjson")):
            with open(path, encoding="utf-8") as f:
                found += [json.loads(line) for line in f]
        return found

    def send(self, weir, n):
        ids = [unique() for _ in range(n)]
        self.assertStatus(weir.post([event(id=i) for i in ids]), 200)
        return ids

    @staticmethod
    def url(weir):
        return f"http://127.0.0.1:{weir.admin}"


class Files(PullingCase):
    def test_01_each_event_is_in_the_files_once(self):
        edges = [self.weir(), self.weir()]
        ids = [i for edge in edges for i in self.send(edge, 250)]
        code, errors = self.run_once("--edge", self.url(edges[0]), "--edge", self.url(edges[1]), "--max-events", "40",
                                     "--workers", "2")
        self.assertEqual(code, 0, errors)
        self.assertEqual(sorted(e["id"] for e in self.lines()), sorted(ids))
        self.assertEqual(self.check(), {"events": 500, "duplicates": 0, "stores": 2, "gaps": []})
        for edge in edges:
            self.assertEqual(edge.stats()["consumers"]["central"]["pending"], 0)

    def test_02_what_comes_again_is_known(self):
        weir = self.weir()
        ids = self.send(weir, 50)
        self.assertEqual(self.run_once("--edge", self.url(weir))[0], 0)
        self.assertStatus(self.seek(weir, "earliest"), 200)
        self.send(weir, 5)
        self.assertEqual(self.run_once("--edge", self.url(weir))[0], 0)
        self.assertEqual(len(self.lines()), 55)
        self.assertTrue(set(ids) <= {e["id"] for e in self.lines()})
        self.assertEqual(self.check()["duplicates"], 50)

    def seek(self, weir, to):
        from harness import request
        return request(weir.admin, "POST", "/pull/v1/central/seek", {"to": to})

    def test_03_a_hole_in_the_log_is_noticed(self):
        weir = self.weir()
        self.send(weir, 10)
        self.assertEqual(self.run_once("--edge", self.url(weir), "--max-events", "4", "--once")[0], 0)
        self.send(weir, 10)
        self.assertStatus(self.seek(weir, "0-16"), 200)
        self.assertEqual(self.run_once("--edge", self.url(weir))[0], 0)
        (gap,) = self.check()["gaps"]
        self.assertEqual(gap[1:], [0, 11, 15])

    def test_04_killed_pullers_and_edges_lose_and_double_nothing(self):
        # Leases of killed servers come again quickly.
        weir = self.weir(sections={"consumers": [{"name": "central", "lease_seconds": 1}]})
        arguments = ("--edge", self.url(weir), "--max-events", "50")
        ids = []
        for round_number in range(3):
            pullers = [self.pull(*arguments) for _ in range(2)]
            for _ in range(4):
                ids += self.send(weir, 100)
            eventually(lambda: len(self.lines_so_far()) >= 100 * (round_number + 1), "some events")
            pullers[round_number % 2].kill()
            if round_number == 1:
                weir.kill()
                weir.start()
            for puller in pullers:
                puller.kill()
                puller.wait()
        time.sleep(1.1)
        eventually(lambda: self.run_once(*arguments)[0] == 0 and
                   weir.stats()["consumers"]["central"]["pending"] == 0, "everything to be taken", 30)
        self.assertEqual(sorted(e["id"] for e in self.lines()), sorted(ids))
        found = self.check()
        self.assertEqual((found["events"], found["gaps"]), (len(ids), []))

    def lines_so_far(self):
        found = []
        for path in glob.glob(os.path.join(self.out, "*.ndjson")):
            with open(path, "rb") as f:
                found += f.read().split(b"\n")[:-1]
        return found

    def test_05_a_puller_that_is_told_to_end_ends(self):
        weir = self.weir()
        puller = self.pull("--edge", self.url(weir))
        eventually(lambda: weir.metric("weir_pull_waiting_requests") == 1, "a waiting request")
        puller.send_signal(signal.SIGTERM)
        self.assertEqual(puller.wait(10), 0)
        eventually(lambda: weir.metric("weir_pull_waiting_requests") == 0, "the edge to notice")

    def test_06_a_token_that_may_not_is_told(self):
        import hashlib
        weir = self.weir(sections={"consumers": [{"name": "central"}], "tokens": [
            {"name": "central", "role": "puller", "hash": hashlib.sha256(b"secret").hexdigest()}]})
        self.assertEqual(self.run_once("--edge", self.url(weir), env={"WEIR_TOKEN": "wrong"})[0], 1)
        self.assertEqual(self.run_once("--edge", self.url(weir), env={"WEIR_TOKEN": "secret"})[0], 0)
        code, errors = self.run_once("--edge", self.url(weir), "--consumer", "other", env={"WEIR_TOKEN": "secret"})
        self.assertEqual(code, 1)
        self.assertIn("unknown_consumer", errors)


@unittest.skipUnless(CLICKHOUSE, "clickhouse-server is not installed")
class ClickHouse(PullingCase):
    def server(self):
        home = os.path.join(self.directory, "clickhouse")
        os.makedirs(home)
        port = free_port()
        config = os.path.join(home, "config.xml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"""<yandex><logger><level>error</level><console>1</console></logger>
              <listen_host>127.0.0.1</listen_host><http_port>{port}</http_port><tcp_port>{free_port()}</tcp_port>
              <path>{home}/data/</path><tmp_path>{home}/tmp/</tmp_path>
              <user_files_path>{home}/files/</user_files_path>
              <mark_cache_size>5242880</mark_cache_size><users_config>{home}/users.xml</users_config>
              <default_profile>default</default_profile><default_database>default</default_database></yandex>""")
        with open(os.path.join(home, "users.xml"), "w", encoding="utf-8") as f:
            f.write("""<yandex><profiles><default></default></profiles><quotas><default></default></quotas>
              <users><default><password></password><profile>default</profile><quota>default</quota>
              <networks><ip>127.0.0.1</ip></networks></default></users></yandex>""")
        command = [CLICKHOUSE] if CLICKHOUSE.endswith("server") else [CLICKHOUSE, "server"]
        with open(os.path.join(home, "log"), "wb") as log:
            process = subprocess.Popen([*command, f"--config-file={config}"], stdout=log, stderr=log, cwd=home)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        from harness import request

        def answers():
            self.assertIsNone(process.poll(), "clickhouse-server ended")
            try:
                return request(port, "GET", "/ping", timeout=5).status == 200
            except OSError:
                return False
        eventually(answers, "clickhouse-server to answer", 30)
        return ("--clickhouse", f"http://127.0.0.1:{port}/")

    def test_rows_are_one_per_event(self):
        sink = self.server()
        weir = self.weir()
        self.send(weir, 120)
        self.assertEqual(self.run_once("--edge", self.url(weir), "--max-events", "50", sink=sink)[0], 0)
        self.assertEqual(self.check(sink), {"events": 120, "duplicates": 0, "stores": 1, "gaps": []})

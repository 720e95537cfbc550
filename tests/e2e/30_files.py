"""file and stdout: whole batches, synced, set aside, on a full disk, after kill -9. And the documentation's examples."""
import glob
import json
import os
import re
import subprocess
import unittest

import harness
from harness import BINARY, ROOT, Weir, event, eventually
from servers import fill_disk, small_disk
from sinks import SinkCase


class Files(SinkCase):
    def file(self, **settings):
        self.where = os.path.join(self.directory, "out")
        os.makedirs(self.where, exist_ok=True)
        return self.sink(type="file", path=f"{self.where}/events.ndjson", **settings)

    def lines(self):
        """Every line of every file, parsed: a torn one would not parse."""
        rows = []
        for path in glob.glob(f"{self.where}/*"):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            self.assertTrue(text == "" or text.endswith("\n"), path)
            rows += [json.loads(line) for line in text.splitlines()]
        return rows

    def ids(self):
        return [row["id"] for row in self.lines()]

    def test_01_a_line_per_event_over_restarts(self):
        weir = self.weir(destinations=[self.file()])
        ids = []
        for _ in range(3):
            ids += self.send(weir, 100, text="line\nbreak")
            self.settles(weir, sent=len(ids))
            weir.restart()
        self.assertEqual(sorted(self.ids()), sorted(ids))
        row = self.lines()[0]
        self.assertEqual((row["raw"]["text"], row["source"]), ("line\nbreak", "native"))
        self.assertRegex(row["store_id"] + row["seq"], r"^[0-9a-f-]{36}0-\d+$")

    def test_02_full_files_are_set_aside(self):
        weir = self.weir(destinations=[self.file(rotate={"bytes": "20KB"}, batch={"max_events": 50})])
        ids = [i for _ in range(10) for i in self.send(weir, 100)]
        self.assertExactly(ids, self.ids)
        self.assertEqual(len(self.ids()), len(ids))
        names = sorted(os.path.basename(p) for p in glob.glob(f"{self.where}/*"))
        self.assertGreater(len(names), 5)
        for name in names[:-1]:
            self.assertRegex(name, r"^events-\d{8}T\d{6}\.\d{3}Z(-\d+)?\.ndjson$")

    def test_03_killed_again_and_again_no_line_is_torn_and_none_is_missing(self):
        weir = self.weir(destinations=[self.file(batch={"max_events": 50})])
        ids = []
        for _ in range(8 if harness.LONG else 4):
            ids += self.send(weir, 400)
            weir.kill()
            weir.start()
        self.assertExactly(ids, self.ids)
        self.settles(weir, sent=len(ids), failed=0, pending=0)

    def test_04_a_full_disk_is_waited_for(self):
        entry = self.file()
        small_disk(self, self.where, "256k")
        ballast = fill_disk(self.where, 30_000)
        central = self.central()
        weir = self.weir(destinations=[entry, harness.destination("good", central.port)])
        ids = self.send(weir, 300)
        self.complains(weir, "No space left on device")
        self.assertArrives(central, ids, timeout=10)
        self.assertEqual(self.destination(weir)["failed"], 0)
        os.unlink(ballast)
        self.assertExactly(ids, self.ids)
        self.assertEqual(len(self.ids()), len(ids))
        self.settles(weir, sent=len(ids), failed=0, pending=0)

    def test_05_a_missing_directory_is_waited_for(self):
        entry = self.file()
        os.rmdir(self.where)
        weir = self.weir(destinations=[entry])
        ids = self.send(weir, 20)
        self.complains(weir, "create the directory")
        os.mkdir(self.where)
        self.assertExactly(ids, self.ids)

    def test_06_stdout_is_lines_and_the_log_is_elsewhere(self):
        self.where = os.path.join(self.directory, "out")
        os.mkdir(self.where)
        weir = self.weir(start=False, destinations=[self.sink(type="stdout")])
        weir.start(wrap=("sh", "-c", f'exec "$@" > {self.where}/stdout', "sh"))
        ids = self.send(weir, 200)
        self.assertExactly(ids, self.ids)
        self.settles(weir, sent=200)


class Configuration(unittest.TestCase):
    def check(self, text):
        path = os.path.join(self.enterContext(__import__("tempfile").TemporaryDirectory()), "weir.toml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return subprocess.run([BINARY, "check", "--config", path], capture_output=True, text=True, timeout=60), path

    def test_07_every_example_of_the_documentation_is_accepted(self):
        with open(os.path.join(ROOT, "docs", "destinations.md"), encoding="utf-8") as f:
            blocks = re.findall(r"```toml\n(.*?)```", f.read(), re.S)
        kinds = {kind for block in blocks for kind in re.findall(r'^type = "(\w+)"', block, re.M)}
        self.assertEqual(kinds, {"http", "kafka", "clickhouse", "postgresql", "redis", "file", "stdout"})
        for block in blocks:
            with self.subTest(block.splitlines()[1]):
                done, _ = self.check(block)
                self.assertEqual(done.returncode, 0, done)

    def test_08_what_is_wrong_is_said_with_file_line_and_hint(self):
        for body, line, words in (
                ('type = "fiel"\npath = "/x"', 3, "must be one of: http, kafka, clickhouse, postgresql, redis, file, stdout"),
                ('type = "file"', 1, 'path: is missing; type "file" needs it; write for example path = "'),
                ('type = "kafka"\nurl = "broker:9092"', 4, "does not begin with kafka://"),
                ('type = "redis"\nurl = "redis://h"\ntopic = "t"', 5, "it is for type kafka; leave it out"),
                ('type = "postgresql"\nurl = "postgresql://u:pw@h/db"', 4, "put it into password"),
                ('url = "http://x/"\nrate_limit = { events = -1 }', 4, "rate_limit.events: must be at least 0")):
            with self.subTest(body):
                done, path = self.check(f'[[destinations]]\nname = "d"\n{body}\n')
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{path}:{line}", done.stdout + done.stderr)
                self.assertIn(words, done.stdout + done.stderr)
                self.assertNotIn(":pw@", (done.stdout + done.stderr).replace(body, ""))

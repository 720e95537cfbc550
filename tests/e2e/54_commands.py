"""Commands for operators: drain, check, version, manual pages."""
import json
import re
import shutil
import subprocess
import threading

import harness
from harness import BINARY, Case, destination, event, eventually


def run(*arguments, **options):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, **options)


class Drain(Case):
    def test_01_until_empty_waits_for_the_destinations(self):
        central = self.central()
        central.fault(mode="status", status=503)
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.post([event() for _ in range(30)])
        done = []
        thread = threading.Thread(target=lambda: done.append(weir.cli("drain", "--until-empty")))
        thread.start()
        eventually(lambda: weir.post(event()).status == 503, "new events are refused")
        answer = weir.post(event())
        self.assertError(answer, 503, "draining")
        self.assertGreater(int(answer.header("retry-after")), 0)
        self.assertEqual(weir.request("GET", "/readyz").json["reason"], "draining")
        self.assertTrue(thread.is_alive())
        central.fault()
        thread.join(20)
        self.assertEqual(done[0].returncode, 0, done)
        self.assertIn("empty", done[0].stdout)
        self.assertIn("events pending", done[0].stderr)
        self.assertEqual(len(central.received), weir.stats()["sent"])
        self.assertEqual(weir.cli("drain", "--resume").returncode, 0)
        self.assertStatus(weir.post(event()), 200)
        self.assertStatus(weir.request("GET", "/readyz"), 200)

    def test_02_a_timeout_says_what_is_left(self):
        weir = self.weir(destinations=[destination("away", harness.free_port())])
        weir.post([event() for _ in range(3)])
        done = weir.cli("drain", "--until-empty", "--timeout", "0.5", "--json")
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(json.loads(done.stdout), {"draining": True, "pending_by_lane": {"away": 3}, "pending": 3})
        self.assertIn("not empty", done.stderr)

    def test_03_a_restart_takes_events_again(self):
        weir = self.weir()
        self.assertEqual(weir.cli("drain").returncode, 0)
        weir.restart()
        self.assertStatus(weir.post(event()), 200)


class Check(Case):
    def write(self, text):
        path = f"{self.directory}/weir.toml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_04_problems_have_file_line_and_hint(self):
        path = self.write('[limits]\nready_percent = 90\nshed_low_percent = 85\n\n[store]\nmax_byts = "1GB"\n')
        done = run("check", "--config", path)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"weir\.toml:6: .*max_byts.*max_bytes")
        path = self.write('[limits]\nready_percent = 90\nshed_low_percent = 85\n')
        done = run("check", "--config", path)
        self.assertRegex(done.stdout, r"weir\.toml:2: limits\.ready_percent: is above limits\.shed_low_percent; .+")

    def test_05_the_machine_is_checked(self):
        done = run("check", "--system", "--json", "--data", self.directory)
        rows = {row["name"]: row for row in json.loads(done.stdout)["system"]}
        names = " ".join(rows)
        for word in ("kernel", "io_uring", "memlock", "files", "sync"):
            self.assertIn(word, names)

    def test_06_version_names_what_it_uses(self):
        shown = json.loads(run("version", "--json").stdout)
        self.assertTrue({"version", "kernel", "liburing", "lmdb", "compiler"} <= shown.keys())

    def test_07_an_unknown_verb_is_a_usage_error(self):
        self.assertEqual(run("evnt", "x").returncode, 2)


class Manual(Case):
    PAGES = (("--man",), ("config", "print", "--man"))

    def test_08_pages_name_every_verb_and_option(self):
        page = run("--man").stdout.replace("\\-", "-")
        for verb in ("serve", "check", "status", "event", "failed requeue", "failed expired", "drain", "store verify"):
            self.assertIn(f'.SS "weir {verb}"', page)
        self.assertIn("--until-empty", page)
        self.assertIn("WEIR_TOKEN", page)
        options = run("config", "print", "--man").stdout.replace("\\-", "-")
        shown = json.loads(run("config", "print", "--json").stdout)
        for path in shown:
            section, name = re.fullmatch(r"([a-z]+)\.(.+)", path).groups()
            self.assertIn(f"\\fB{name}\\fR", options, path)
            self.assertRegex(options, rf"\.SH \[{section}\]")

    def test_09_groff_has_nothing_to_say(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        for arguments in self.PAGES:
            page = run(*arguments).stdout
            done = subprocess.run(["groff", "-k", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)

"""weir top and weir tail: live views for people and scripts."""
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import BINARY, Case, destination, event, eventually


class Terminal:
    """A command on a pseudo terminal of a given size."""

    def __init__(self, command, columns, rows):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.set_blocking(self.master, False)
        self.text = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        try:
            while True:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        except (BlockingIOError, OSError):
            return self.text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class Top(Case):
    def test_01_once_is_one_plain_screen(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port), destination("away", harness.free_port())])
        weir.post([event() for _ in range(7)])
        eventually(lambda: len(central.received) == 7, "sent")

        def shown():
            done = weir.cli("top", "--once")
            self.assertEqual(done.returncode, 0, done)
            return done.stdout if "backing_off" in done.stdout else None
        text = eventually(shown, "a lane that backs off")
        for word in ("rates", "commit", "disk", "memory", "main", "away", "7 pending"):
            self.assertIn(word, text)
        self.assertNotIn("\x1b", text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80, line)
        self.assertLessEqual(len(text.splitlines()), 24)
        self.assertLess(text.index("away"), text.index("main"))     # what lags comes first
        self.assertEqual(json.loads(weir.cli("top", "--once", "--json").stdout)["accepted"], 7)

    def test_02_on_a_terminal_it_fits_and_follows_its_size(self):
        weir = self.weir(destinations=[destination(f"d{i:02}", harness.free_port()) for i in range(30)])
        terminal = Terminal([BINARY, "top", "--interval", "30", "--server", f"http://127.0.0.1:{weir.admin}"], 80, 24)
        self.addCleanup(terminal.close)
        first = eventually(lambda: (t := terminal.read()).count("\r\n") >= 20 and t, lambda: repr(terminal.text))
        self.assertIn("\x1b[?1049h", first)
        self.assertEqual(first.count("\r\n"), 23)
        self.assertIn("more lines", first)
        terminal.text = ""
        terminal.resize(40, 10)
        terminal.process.send_signal(signal.SIGWINCH)       # the terminal is not its controlling one
        second = eventually(lambda: (t := terminal.read()).count("\r\n") >= 8 and t, lambda: repr(terminal.text))
        for line in second.replace("\x1b[K", "").replace("\x1b[H", "").replace("\x1b[J", "").split("\r\n"):
            self.assertLessEqual(len(line.strip("\r")), 40, line)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.process.wait(10), 0)
        self.assertIn("\x1b[?1049l", terminal.read())           # the screen is given back

    def test_03_a_server_that_is_gone_is_a_failure(self):
        weir = self.weir()
        weir.stop()
        done = weir.cli("top", "--once")
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(weir.admin), done.stderr)


class Tail(Case):
    def tail(self, weir, *flags):
        process = subprocess.Popen([BINARY, "tail", "--server", f"http://127.0.0.1:{weir.admin}", *flags],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def lines(self, process, weir, post, n):
        """Posts until the listener has shown n lines and ended."""
        deadline = time.monotonic() + harness.PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            post()
            time.sleep(0.05)
        out, err = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 0, err)
        found = out.splitlines()
        self.assertEqual(len(found), n, found)
        return found

    def test_04_stored_repeated_and_rejected_events(self):
        weir = self.weir()
        process = self.tail(weir, "--json", "-n", "9")
        rows = [json.loads(line) for line in self.lines(
            process, weir, lambda: weir.post([event(id="same", a=[1, "\n"]), {"id": "no-name"}]), 9)]
        outcomes = {r["outcome"] for r in rows}
        self.assertLessEqual({"duplicate", "rejected"}, outcomes)
        by_outcome = {r["outcome"]: r for r in rows}
        self.assertEqual(by_outcome["rejected"]["reason"], "missing_name")
        self.assertEqual(by_outcome["duplicate"]["id"], "same")
        self.assertEqual(by_outcome["duplicate"]["raw"]["a"], [1, "\n"])
        self.assertEqual(by_outcome["duplicate"]["source"], "native")
        self.assertEqual(by_outcome["duplicate"]["tenant"], "default")

    def test_05_filters(self):
        weir = self.weir(keys=[{"key": "a", "tenant": "ta"}, {"key": "b", "tenant": "tb"}])

        def post():
            for key in "ab":
                weir.post([event(name="keep"), event(name="other"), {"id": "x"}], headers={"X-Write-Key": key})
        process = self.tail(weir, "--json", "-n", "5", "--tenant", "tb", "--name", "keep", "--outcome", "stored")
        for row in map(json.loads, self.lines(process, weir, post, 5)):
            self.assertEqual((row["tenant"], row["name"], row["outcome"]), ("tb", "keep", "stored"))
            self.assertRegex(row["seq"], r"^0-\d+$")
        process = self.tail(weir, "-n", "3", "--outcome", "rejected")
        for line in self.lines(process, weir, post, 3):
            self.assertIn("missing_name", line)

    def test_06_text_is_safe_on_a_terminal(self):
        weir = self.weir()
        process = self.tail(weir, "-n", "3")
        for line in self.lines(process, weir, lambda: weir.post(event(name="\u001b[2Jx\u202e")), 3):
            self.assertNotIn("\u001b", line)
            self.assertNotIn("\u202e", line)
            self.assertIn("?[2Jx?", line)

    def test_07_a_listener_that_does_not_read_holds_up_nobody(self):
        weir = self.weir()
        stuck = harness.Raw(weir.admin)
        stuck.send(b"GET /api/v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: weir.metric("weir_stream_subscribers", topic="tail") == 1, "a listener")
        worst = 0.0
        for _ in range(40):
            started = time.monotonic()
            self.assertStatus(weir.post([event(p="x" * 900) for _ in range(200)]), 200)
            worst = max(worst, time.monotonic() - started)
        self.assertLess(worst, 5)
        dropped = lambda: (weir.metric("weir_tail_dropped_total")  # noqa: E731
                           + weir.metric("weir_stream_frames_total", topic="tail", outcome="skipped"))
        eventually(lambda: dropped() > 0, "events that were not shown are counted")
        stuck.close()

    def test_08_when_the_last_listener_leaves_the_taps_are_off(self):
        weir = self.weir()
        process = self.tail(weir)
        eventually(lambda: weir.metric("weir_stream_subscribers", topic="tail") == 1, "a listener")
        process.kill()
        process.communicate()
        eventually(lambda: (weir.post(event()), weir.metric("weir_stream_subscribers", topic="tail") == 0)[1],
                   "nobody listens")
        self.assertEqual(weir.stop(), 0)

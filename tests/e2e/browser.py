"""A page in a real browser for tests: web/driver.mjs in a process of its own, called by name."""
import json
import os
import shutil
import subprocess

import harness

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def missing():
    """Why there can be no browser here, or None."""
    if not (shutil.which("node") and shutil.which("npm")):
        return "needs node and npm"
    return None if os.path.exists(CHROMIUM) else "needs chromium"


def install(folder, *more):
    """Installs what the folder's package-lock.json names, when it is not there yet."""
    stamp = os.path.join(folder, "node_modules", ".package-lock.json")
    lock = os.path.join(folder, "package-lock.json")
    if os.path.exists(stamp) and os.path.getmtime(stamp) >= os.path.getmtime(lock):
        return
    done = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", *more],
                          cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"npm cannot install {lock}: {(done.stdout + done.stderr)[-1500:]}")
    os.utime(stamp)


class Page:
    """page.click("button") and every other call of driver.mjs."""

    def __init__(self):
        install(HERE)
        self._process = subprocess.Popen(["node", os.path.join(HERE, "driver.mjs")], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, cwd=HERE)

    def __getattr__(self, name):
        def call(*arguments):
            self._process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the browser is gone")
            answer = json.loads(line)
            if "error" in answer:
                raise AssertionError(f"{name}{arguments}: {answer['error']}")
            return answer["value"]
        return call

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PageCase(harness.Case):
    """Tests that share one browser; each opens a fresh page."""

    @classmethod
    def setUpClass(cls):
        cls.page = Page()

    @classmethod
    def tearDownClass(cls):
        cls.page.close()

    def open(self, weir, **options):
        self.url = f"http://127.0.0.1:{weir.admin}"
        self.page.open(self.url + "/", options)

    def visit(self, place):
        self.page.run(f"location.hash = '#/{place}'")

    def tile(self, name, pattern):
        """Waits until the tile shows it."""
        self.page.wait_text(f'[data-tile="{name}"] .tile-value', f"^{pattern}$")

    def assertHonest(self):
        """The page asked nobody else, nothing in it ran, and its own policy had nothing to forbid."""
        self.assertEqual(self.page.seen(), {"dialogs": [], "foreign": [], "violations": [], "errors": []})
        self.assertEqual(self.page.count("#app script, #app img, #app iframe, #app [onerror]"), 0)

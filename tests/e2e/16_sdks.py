"""Unmodified SDKs from npm and a page in a real browser, end to end, byte for byte."""
import os
import shutil
import sys
import unittest

import harness
from harness import Case, destination, eventually, unique

sys.path.insert(0, os.path.join(harness.ROOT, "tools", "demo"))
import clients  # noqa: E402


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "needs node and npm")
class Clients(Case):
    @classmethod
    def setUpClass(cls):
        error = clients.install()
        if error:
            raise RuntimeError(f"npm cannot install the clients: {error[-1000:]}")

    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[destination("d", self.upstream.port)],
                           keys=[{"key": "wk_e2e", "tenant": "sdk"}])
        self.recorder = clients.Recorder(self.w.ingest)
        self.addCleanup(self.recorder.close)
        self.url = f"http://127.0.0.1:{self.recorder.port}"

    def check(self, ids):
        self.assertTrue(ids)
        self.assertArrives(self.upstream, ids, "sdk")
        self.assertEqual(clients.differences(self.recorder, self.upstream, ids, "sdk"), [])

    def test_segment_node(self):
        self.check(clients.run_client("segment.mjs", self.url, "wk_e2e", 100, unique()))

    def test_rudder_node(self):
        self.check(clients.run_client("rudder.mjs", self.url, "wk_e2e", 100, unique()))

    def test_segment_node_over_a_restart(self):
        """kill -9 while it sends: its own retries and Weir's memory of ids make it exactly once."""
        import threading
        import time
        result = []
        thread = threading.Thread(target=lambda: result.extend(
            clients.run_client("segment.mjs", f"http://127.0.0.1:{self.w.ingest}", "wk_e2e", 3000, unique())))
        thread.start()
        eventually(lambda: len(self.upstream.received) > 20, "first events")
        self.w.kill()
        time.sleep(0.3)
        self.w.start()
        thread.join(120)
        self.assertEqual(len(result), 3000)
        self.assertArrives(self.upstream, result, "sdk")

    @unittest.skipUnless(os.path.exists(os.environ.get("CHROMIUM", "/usr/bin/chromium")), "needs chromium")
    def test_browser(self):
        server, page = clients.page_server()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        ids = clients.run_client("browser.mjs", f"http://127.0.0.1:{page}/", self.url, "wk_e2e", unique())
        self.assertGreaterEqual(len(ids), 15)
        self.check(ids)

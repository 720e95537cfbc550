"""The dashboard's files as the admin listener serves them, and the types of its source."""
import hashlib
import os
import re
import shutil
import subprocess
import unittest

import browser
import harness
from harness import Case, request

SOURCE = os.path.join(harness.ROOT, "collector", "admin", "web")


class Files(Case):
    def test_they_are_revalidated_not_sent_twice(self):
        weir = self.weir()
        page = weir.get_admin("/").body.decode()
        paths = ["/", *re.findall(r'(?:href|src)="(/[^"]+)"', page)]
        self.assertEqual(len(paths), 4, paths)
        for path in paths:
            with self.subTest(path=path):
                first = self.assertStatus(weir.get_admin(path), 200)
                self.assertEqual(first.header("Cache-Control"), "no-cache")
                again = weir.get_admin(path, headers={"If-None-Match": first.header("ETag")})
                self.assertEqual((again.status, again.body), (304, b""))
                self.assertStatus(weir.get_admin(path, headers={"If-None-Match": '"other"'}), 200)
                self.assertError(request(weir.admin, "POST", path, b""), 405, "method_not_allowed")

    def test_nothing_inline_nothing_from_elsewhere_in_nobodys_frame(self):
        weir = self.weir()
        page = weir.get_admin("/")
        policy = dict(part.strip().split(" ", 1) for part in page.header("Content-Security-Policy").split(";"))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual((policy["script-src"], policy["style-src"], policy["connect-src"]), ("'self'",) * 3)
        self.assertEqual(policy["frame-ancestors"], "'none'")
        self.assertEqual(page.header("X-Content-Type-Options"), "nosniff")
        text = page.body.decode()
        self.assertNotRegex(text, r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://")
        for path in ("/api/v1/live-counters", "/api/v1/failed", "/api/v1/failed/export", "/metrics", "/no/such"):
            self.assertEqual(weir.get_admin(path).header("X-Content-Type-Options"), "nosniff", path)

    def test_without_a_session_the_files_are_served_and_nothing_else(self):
        tokens = [{"name": "boss", "hash": hashlib.sha256(b"boss").hexdigest(), "role": "admin"}]
        weir = self.weir(sections={"tokens": tokens})
        self.assertStatus(weir.get_admin("/"), 200)
        self.assertStatus(weir.get_admin("/assets/app.js"), 200)
        self.assertEqual(weir.get_admin("/api/v1/session").json, {"open": False, "signed_in": False, "name": ""})
        for path in ("/api/v1/stats", "/api/v1/live", "/assets/nothing.js"):
            self.assertStatus(weir.get_admin(path), 401)
        # A sign-in needs a page of this server, whatever the token.
        good = {"Authorization": "Bearer boss"}
        self.assertStatus(request(weir.admin, "POST", "/api/v1/session", b"", good), 403)
        self.assertStatus(request(weir.admin, "POST", "/api/v1/session", b"", {**good, "Origin": "http://evil.example"}), 403)
        own = {**good, "Origin": f"http://127.0.0.1:{weir.admin}"}
        signed_in = self.assertStatus(request(weir.admin, "POST", "/api/v1/session", b"", own), 200)
        cookie = signed_in.header("Set-Cookie")
        self.assertRegex(cookie, rf"^weir_session_{weir.admin}=[0-9a-f]{{64}}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict$")
        session = weir.get_admin("/api/v1/session", headers={"Cookie": cookie.split(";")[0]}).json
        self.assertEqual(session, {"open": False, "signed_in": True, "name": "boss"})

    def test_in_open_mode_the_page_is_this_machines(self):
        weir = self.weir()
        self.assertStatus(weir.get_admin("/", headers={"Host": "attacker.example"}), 403)
        self.assertEqual(weir.get_admin("/api/v1/session").json, {"open": True, "signed_in": False, "name": ""})


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "needs node and npm")
class Source(unittest.TestCase):
    def test_the_types_hold(self):
        browser.install(SOURCE)
        done = subprocess.run(["node", "node_modules/typescript/bin/tsc", "--noEmit", "-p", "."], cwd=SOURCE,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_no_text_becomes_html(self):
        for folder, _, names in os.walk(os.path.join(SOURCE, "src")):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    self.assertNotRegex(f.read(), r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|\bstyle=", name)

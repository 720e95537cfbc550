"""The dashboard in a real browser: what it shows, what it does, who can use it, and that hostile text stays text."""
import csv
import hashlib
import io
import json
import unittest

import browser
from browser import PageCase
from harness import arrived_events, destination, event, eventually, free_port, raw_of, request

VIEWS = ("", "failed", "tail", "events", "lanes", "consumers", "storage", "configuration")
HOSTILE = ('<img src=x onerror="alert(1)">', "</script><script>alert(2)</script>", "\u202egnp.exe", "\u001b[31mred\u001b[0m",
           "javascript:alert(3)", "{{7*7}}${7*7}", "=HYPERLINK(\"http://evil.example\")")


@unittest.skipIf(browser.missing(), browser.missing())
class Dashboard(PageCase):
    def with_failed(self, ids, **more):
        """A server with failed events, and the destination that refused them."""
        central = self.central()
        central.fault(mode="poison", ids="|".join(f"^{i}$" for i in ids), status=422, body="total must be a number")
        weir = self.weir(destinations=[destination("shop", central.port)], **more)
        weir.post([{"id": i, "name": "purchase", "properties": {"total": "12,50", "big": 10 ** 30 + 7}} for i in ids])
        eventually(lambda: len(weir.get_admin("/api/v1/failed").json["failed"]) == len(ids), "they fail")
        return weir, central

    def test_counters_follow_without_a_reload(self):
        central = self.central()
        weir = self.weir(destinations=[destination("saas", central.port)])
        self.open(weir)
        self.page.wait_text(".side .pill", "Live")
        self.tile("Accepted", 0)
        self.page.run("window.same = true")
        weir.post([event(), event(), event()])
        self.tile("Accepted", 3)
        self.tile("Sent", 3)
        weir.post([event()])
        self.tile("Sent", 4)
        self.assertTrue(self.page.run("window.same"))
        self.assertEqual(self.page.run("document.querySelectorAll('.plot canvas').length"), 3)
        self.assertHonest()

    def test_exact_counts_are_cached_until_they_are_counted_anew(self):
        weir = self.weir()
        weir.post([event()])
        self.open(weir)
        self.page.wait_text(".exact .total", "All1")
        weir.post([event()])
        self.page.click(".exact button")
        self.page.wait_text(".exact .total", "All2")
        self.assertEqual(weir.metric("weir_stats_computed_total", cause="forced"), 1)

    def test_a_failed_event_is_edited_sent_again_and_arrives(self):
        weir, central = self.with_failed(["bad-1"])
        self.open(weir)
        self.tile("Failed", 1)
        self.page.click('[data-tile="Failed"]')
        self.page.click("tbody th a")
        self.page.wait_text(".answer", "total must be a number")
        text = self.page.value(".editor")
        self.assertIn('"big": 1000000000000000000000000000007', text, "numbers survive being looked at")
        self.page.fill(".editor", text.replace('"12,50"', '"12,50'))
        self.page.wait_text("[role=alert]", "JSON")
        self.assertTrue(self.page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Save').disabled"))
        self.page.fill(".editor", text.replace('"12,50"', "12.5"))
        central.fault(mode="none")
        self.page.click("text=Save and requeue")
        self.page.wait_text(".toast", "sent again")
        self.assertArrives(central, ["bad-1"])
        self.assertEqual(arrived_events(central)["bad-1"]["raw"]["properties"]["total"], 12.5)
        self.assertIn("1000000000000000000000000000007", raw_of(central, "bad-1"))
        self.tile_after("", "Failed", 0)
        self.assertHonest()

    def tile_after(self, view, name, pattern):
        self.visit(view)
        self.tile(name, pattern)

    def test_failed_events_are_filtered_requeued_and_discarded_with_a_question(self):
        weir, central = self.with_failed([f"bad-{i}" for i in range(4)])
        self.open(weir)
        self.visit("failed")
        self.page.wait_text(".table-foot", "4 events")
        self.page.fill("input[name=reason]", "no_such_reason")
        self.page.press("Enter")
        self.page.wait_text(".empty", "No failed event matches")
        self.assertIn("reason=no_such_reason", self.page.run("location.hash"))
        self.page.click(".filters a")
        self.page.wait_text(".table-foot", "4 events")
        self.page.select("select[name=destination]", "shop")
        self.page.click(".filters button[type=submit]")
        self.page.wait_text(".table-foot", "4 events")
        # one
        central.fault(mode="none")
        self.page.click("tbody tr:first-child .row-action button")
        self.page.wait_text("tbody", "Requeued")
        eventually(lambda: len(weir.get_admin("/api/v1/failed").json["failed"]) == 3, "one is sent")
        self.assertEqual(len(central.received), 1)
        # the rest is discarded, after a question that can be answered with no
        self.page.click("text=Discard matching…")
        self.page.wait_text("dialog", "Discard for good")
        self.page.press("Escape")
        self.page.wait_gone("dialog")
        self.assertEqual(len(weir.get_admin("/api/v1/failed").json["failed"]), 3)
        self.page.click("text=Discard matching…")
        self.page.click("dialog button.danger")
        self.page.wait_text(".toast", "3 events discarded")
        self.page.wait_text(".empty", "No failed event matches")
        self.assertEqual(weir.get_admin("/api/v1/failed").json["failed"], [])

    def test_the_export_is_a_file_with_every_event(self):
        ids = [f"bad-{i}" for i in range(3)]
        weir, _ = self.with_failed(ids)
        self.open(weir)
        self.visit("failed")
        file = self.page.download("text=Export NDJSON")
        self.assertEqual(file["name"], "failed-events.ndjson")
        self.assertEqual(sorted(json.loads(line)["event_id"] for line in file["text"].splitlines()), ids)

    def test_hostile_text_stays_text(self):
        central = self.central()
        central.fault(mode="status", status=400, body="<img src=x onerror=alert(9)>\u202e</script>")
        weir = self.weir(destinations=[destination("shop", central.port)], keys=[{"key": "k", "tenant": "<b>t</b>"}])
        weir.post([{"id": f"{i}{text}", "name": text, "properties": {text: text}} for i, text in enumerate(HOSTILE)],
                  headers={"X-Write-Key": "k"})
        eventually(lambda: len(weir.get_admin("/api/v1/failed").json["failed"]) == len(HOSTILE), "they fail")
        self.open(weir)
        for view in VIEWS:
            self.visit(view)
            self.page.wait("main .panel")
        self.visit("failed")
        self.page.wait_text("tbody", "<img src=x onerror=")
        self.page.wait_text("tbody", "U\\+202E")
        self.page.wait_text("tbody", "U\\+001B")
        for number in range(1, len(HOSTILE) + 1):
            self.visit(f"failed/{number}")
            self.page.wait(".editor")
            self.assertNotRegex(self.page.value(".editor"), "[\u202e\u001b]")
        self.visit("failed?reason=%3Cimg%20src%3Dx%20onerror%3Dalert(4)%3E")
        self.page.wait_text(".empty", "No failed event matches")
        self.visit("failed")
        self.page.wait("tbody tr")
        file = self.page.download("text=Export CSV")
        rows = list(csv.DictReader(io.StringIO(file["text"])))
        self.assertEqual(len(rows), len(HOSTILE))
        for row in rows:
            self.assertNotRegex(row["name"], "^[=+@-]", "no spreadsheet takes it for a formula")
        self.assertHonest()

    def test_consumers_show_what_they_hold(self):
        weir = self.weir(sections={"consumers": [{"name": "central"}]})
        weir.post([event(), event(), event()])
        self.open(weir)
        self.visit("consumers")
        self.page.wait_text("tbody tr", "central.*Waiting.*3")
        lease = self.assertStatus(request(weir.admin, "POST", "/pull/v1/central/lease", {"max_events": 2}), 200)
        self.page.click("text=Refresh")
        self.page.wait_text("tbody tr", "central.*Working.*2")
        self.page.wait_text("tbody tr", lease.json["lease"])
        self.assertHonest()

    def test_on_a_phone_nothing_is_wider_than_the_screen(self):
        weir, _ = self.with_failed(["bad-" + "long" * 30], sections={"consumers": [{"name": "central"}]})
        self.open(weir, width=375, height=700)
        for view in (*VIEWS, "failed/1"):
            self.visit(view)
            self.page.wait("main .panel")
            with self.subTest(view=view):
                self.assertLessEqual(self.page.run("document.documentElement.scrollWidth"), 375)

    def test_everything_can_be_done_with_the_keyboard(self):
        weir, central = self.with_failed(["bad-1"])
        self.open(weir)
        self.tile("Failed", 1)
        self.page.press("Tab")
        self.assertEqual(self.page.run("document.activeElement.textContent"), "Skip to content")
        for _ in range(3):      # brand, Overview, Failed
            self.page.press("Tab")
        self.assertIn("Failed", self.page.run("document.activeElement.textContent"))
        self.assertNotEqual(self.page.run("getComputedStyle(document.activeElement).outlineStyle"), "none")
        self.page.press("Enter")
        self.page.wait_text(".table-foot", "1 event")
        self.assertEqual(self.page.run("document.activeElement.id"), "main", "a new view is read from its beginning")
        self.assertIn("Failed", self.page.run("document.title"))
        self.page.run("document.querySelector('tbody th a').focus()")
        self.page.press("Enter")
        self.page.wait(".editor")
        self.page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Discard…').focus()")
        self.page.press("Enter")
        self.page.wait("dialog[open]")
        self.assertEqual(self.page.run("document.activeElement.textContent"), "Cancel", "the harmless answer first")
        self.page.press("Escape")
        self.page.wait_gone("dialog")
        self.assertEqual(self.page.run("document.activeElement.textContent"), "Discard…")

    def test_nothing_keeps_people_out(self):
        weir, _ = self.with_failed(["bad-1"], sections={"consumers": [{"name": "central"}]})
        weir.post([event()])
        for dark in (False, True):
            self.open(weir, dark=dark)
            for view in (*VIEWS, "failed/1"):
                self.visit(view)
                self.page.wait("main .panel")
                with self.subTest(view=view, dark=dark):
                    self.assertEqual(self.page.axe(), [])
        self.page.click("text=Discard…")
        self.page.wait("dialog[open]")
        self.assertEqual(self.page.axe(), [])

    def test_the_page_follows_the_colours_of_the_system(self):
        weir = self.weir()
        self.open(weir)
        self.page.wait("[data-tile]")
        background = "getComputedStyle(document.body).backgroundColor"
        light = self.page.run(background)
        self.page.scheme("dark")
        self.assertNotEqual(self.page.run(background), light)

    def test_a_server_that_is_gone_is_noticed_and_found_again(self):
        weir = self.weir()
        self.open(weir)
        self.page.wait_text(".side .pill", "Live")
        weir.stop()
        self.page.wait_text(".banner", "Not connected")
        weir.start()
        self.page.wait_text(".side .pill", "Live")
        self.page.wait_gone(".banner")
        weir.post([event()])
        self.tile("Accepted", 1)

    def test_a_destination_that_is_down_says_why(self):
        weir = self.weir(destinations=[destination("down", free_port())])
        self.open(weir)
        self.visit("lanes")
        weir.post([event()])
        self.page.wait_text(".lane .pill", "Retrying")
        self.page.wait_text(".lane .answer", "connect")


@unittest.skipIf(browser.missing(), browser.missing())
class SignIn(PageCase):
    def test_with_a_token_for_as_long_as_it_counts(self):
        tokens = [{"name": name, "hash": hashlib.sha256(name.encode()).hexdigest(), "role": role}
                  for name, role in (("boss", "admin"), ("scraper", "metrics"))]
        weir = self.weir(sections={"tokens": tokens})
        self.open(weir)
        for wrong, said in (("nobody", "not known"), ("scraper", "role")):
            self.page.fill("input[name=token]", wrong)
            self.page.press("Enter")
            self.page.wait_text("#sign-in-error", said)
        self.assertEqual(self.page.axe(), [])
        self.page.fill("input[name=token]", "boss")
        self.page.press("Enter")
        self.page.wait_text(".side .pill", "Live")
        [cookie] = self.page.cookies()
        self.assertEqual((cookie["httpOnly"], cookie["sameSite"], cookie["path"]), (True, "Strict", "/"))
        self.assertNotIn("boss", cookie["value"])
        self.assertEqual(self.page.run("document.cookie + JSON.stringify(sessionStorage) + JSON.stringify(localStorage)"), "{}{}")
        # The cookie opens what the token opens, but a change must come from the page itself.
        header = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        self.assertStatus(weir.get_admin("/api/v1/stats", headers=header), 200)
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b"", header), 403)
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b"", {**header, "Origin": "http://evil.example"}), 403)
        self.page.reload()
        self.page.wait_text(".side .pill", "Live")
        self.page.click("text=Sign out")
        self.page.wait("input[name=token]")
        self.assertStatus(weir.get_admin("/api/v1/stats", headers=header), 401)
        # A token that is taken away takes its sessions along.
        self.page.fill("input[name=token]", "boss")
        self.page.press("Enter")
        self.page.wait_text(".side .pill", "Live")
        tokens[0]["hash"] = hashlib.sha256(b"other").hexdigest()
        weir.write_config()
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b"", {"Authorization": "Bearer boss"}), 200)
        self.page.wait("input[name=token]")
        self.assertHonest()

"""The dashboard in a real browser: consumers are moved and deleted, one event's story is told, live events run by."""
import hashlib
import unittest

import browser
from browser import PageCase
from harness import destination, event, eventually, request

HOSTILE = '<img src=x onerror="alert(1)">\u202e'


def lease(weir, consumer="central", **body):
    return request(weir.admin, "POST", f"/pull/v1/{consumer}/lease", body)


@unittest.skipIf(browser.missing(), browser.missing())
class Consumers(PageCase):
    def acked(self):
        """A server whose consumer has had everything there was."""
        weir = self.weir(sections={"consumers": [{"name": "central"}]})
        weir.post([event(), event(), event()])
        held = self.assertStatus(lease(weir), 200).json
        request(weir.admin, "POST", "/pull/v1/central/ack", {"lease": held["lease"]})
        return weir

    def choose(self, value):
        self.page.click(f"dialog input[value={value}]")

    def test_one_is_moved_back_and_gets_its_events_again(self):
        weir = self.acked()
        self.open(weir)
        self.visit("consumers")
        self.page.wait_text("tbody tr", "central.*declared.*Waiting")
        self.page.run("[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Move…')).focus()")
        self.page.press("Enter")
        self.page.wait("dialog[open]")
        self.assertEqual(self.page.run("document.activeElement.textContent"), "Cancel", "the harmless answer first")
        self.page.press("Escape")
        self.page.wait_gone("dialog")
        self.assertStatus(lease(weir), 204)
        self.page.press("Enter")
        self.page.wait("dialog[open]")
        self.page.press("Tab")      # Move
        self.page.press("Enter")
        self.page.wait_text(".toast", "central goes on from 0-1")
        self.page.wait_text("tbody tr", "central.*3")
        self.assertEqual(len(self.assertStatus(lease(weir), 200).json["events"]), 3)
        # To a place that is written down; what is no position does not leave the page.
        self.page.click("text=Move…")
        self.choose("positions")
        self.page.fill("dialog input[name=positions]", "yesterday")
        self.page.click("dialog button[type=submit]")
        self.assertEqual(self.page.count("dialog[open] :invalid"), 2, "the field, and the form for it")
        self.page.fill("dialog input[name=positions]", "0-2")
        self.page.click("dialog button[type=submit]")
        self.page.wait_text(".toast", "central goes on from 0-2")
        # To a time, and to the end.
        self.page.click("text=Move…")
        self.choose("time")
        self.page.fill("dialog input[name=time]", "2020-01-01T00:00:00")
        self.page.click("dialog button[type=submit]")
        self.page.wait_text(".toast", "central goes on from 0-1")
        self.page.click("text=Move…")
        self.choose("latest")
        self.assertEqual(self.page.axe(), [])
        self.page.click("dialog button[type=submit]")
        eventually(lambda: lease(weir).status == 204, "nothing is left for it")
        self.assertHonest()

    def test_one_made_at_run_time_is_deleted_after_a_question_by_the_page_alone(self):
        tokens = [{"name": "boss", "hash": hashlib.sha256(b"boss").hexdigest(), "role": "admin"}]
        weir = self.weir(sections={"consumers": [{"name": "central"}], "tokens": tokens})
        bearer = {"Authorization": "Bearer boss"}
        self.assertStatus(request(weir.admin, "POST", "/api/v1/consumers", {"name": "made"}, bearer), 201)
        self.open(weir)
        self.page.fill("input[name=token]", "boss")
        self.page.press("Enter")
        self.page.wait_text(".side .pill", "Live")
        self.visit("consumers")
        self.page.wait_text("tbody tr", "made.*made at run time")
        self.assertEqual(self.page.count(".row-action button.danger"), 1, "the declared one would come back")
        self.page.click("text=Delete…")
        self.page.wait_text("dialog", "Its position is forgotten")
        self.page.press("Escape")
        self.page.wait_gone("dialog")
        # A page of somebody else has the cookie too.
        [cookie] = self.page.cookies()
        header = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": "http://evil.example"}
        self.assertStatus(request(weir.admin, "DELETE", "/api/v1/consumers/made", None, header), 403)
        self.assertStatus(request(weir.admin, "POST", "/api/v1/consumers/central/seek", {"to": "latest"}, header), 403)
        self.page.click("text=Delete…")
        self.page.click("dialog button.danger")
        self.page.wait_text(".toast", "made was deleted")
        self.page.wait_gone(".row-action button.danger")
        self.assertStatus(weir.get_admin("/api/v1/consumers/made", headers=bearer), 404)
        self.assertHonest()


@unittest.skipIf(browser.missing(), browser.missing())
class Story(PageCase):
    def test_an_event_is_found_with_all_that_became_of_it(self):
        central = self.central()
        central.fault(mode="poison", ids="^order-1$", status=422, body=f"no such product {HOSTILE}")
        weir = self.weir(destinations=[destination("shop", central.port)], sections={"consumers": [{"name": "central"}]},
                         keys=[{"key": "k", "tenant": "acme"}])
        weir.post([{"id": "order-1", "name": HOSTILE, "big": 10 ** 30 + 7}], headers={"X-Write-Key": "k"})
        eventually(lambda: weir.get_admin("/api/v1/failed").json["failed"], "it fails")
        held = self.assertStatus(lease(weir), 200).json
        self.open(weir)
        self.visit("events")
        self.page.fill("input[name=id]", "order-1")
        self.page.press("Enter")
        self.page.wait_text("tbody tr", "shop.*Failed.*422.*http_422.*no such product <img.*Failed event 1")
        self.page.wait_text("tbody tr", "central.*Leased.*until.*leased by 127.0.0.1")
        self.page.wait_text(".facts", "Received.*Committed.*Position.*(0-1|1-1).*On disk")
        self.page.wait_text(".answer", '"big": 1000000000000000000000000000007')
        self.assertIn("id=order-1", self.page.run("location.hash"), "the story has an address")
        request(weir.admin, "POST", "/pull/v1/central/ack", {"lease": held["lease"]})
        self.page.click("text=Refresh")
        self.page.wait_text("tbody tr", "central.*Sent")
        for dark in ("light", "dark"):
            self.page.scheme(dark)
            self.assertEqual(self.page.axe(), [])
        # From there to the failed event, and back.
        self.page.click("tbody a")
        self.page.wait(".editor")
        self.page.click(".facts a.mono")
        self.page.wait_text("tbody tr", "shop.*Failed")
        self.page.fill("input[name=tenant]", "nobody")
        self.page.press("Enter")
        self.page.wait_text(".empty", "No event of this id")
        self.page.resize(375, 700)
        self.visit("events?id=order-1")
        self.page.wait("tbody tr")
        self.assertLessEqual(self.page.run("document.documentElement.scrollWidth"), 375)
        self.assertHonest()


@unittest.skipIf(browser.missing(), browser.missing())
class LiveEvents(PageCase):
    def rows(self, pattern):
        self.page.wait_text("tbody tr", pattern)

    def comes(self, weir, body, selector, text):
        """Sends it until the page shows it: a new filter takes a moment to reach the reactors."""
        shown = f"document.querySelector('{selector}')?.textContent ?? ''"
        eventually(lambda: weir.post(body) and text in self.page.run(shown), lambda: self.page.run(shown))

    def test_they_run_by_with_outcome_and_reason(self):
        weir = self.weir()
        self.open(weir)
        self.visit("tail")
        self.page.wait_text("main .panel .pill", "^Live$")
        self.page.wait_text(".empty", "Nothing has come in yet")
        weir.post([{"id": "a", "name": "purchase"}, {"id": "a", "name": "purchase"}, {"id": "n"},
                   {"id": HOSTILE, "name": HOSTILE, "properties": {HOSTILE: HOSTILE}}])
        self.rows("purchase.*native.*Stored.*a")
        self.rows("purchase.*Duplicate")
        self.rows("no name.*Rejected.*missing_name")
        self.rows("<img src=x.*U\\+202E")
        # Opening one pauses the list, so that it does not run away from who reads.
        self.page.click("tbody tr:first-child summary")
        self.page.wait_text("main .panel .pill", "Paused")
        self.page.wait_text("tbody details[open] pre", "{")
        weir.post([event(name="later"), event(name="later")])
        self.page.wait_text(".table-foot", "2 more events")
        self.assertNotIn("later", self.page.text("tbody"))
        for dark in ("light", "dark"):
            self.page.scheme(dark)
            self.assertEqual(self.page.axe(), [])
        self.page.resize(375, 700)
        self.assertLessEqual(self.page.run("document.documentElement.scrollWidth"), 375)
        self.page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Resume').focus()")
        self.page.press("Enter")
        self.rows("later")
        # From a row to the event's story.
        self.page.click("tbody th:has-text('purchase') ~ td a")
        self.page.wait_text("main", "What became of a")
        eventually(lambda: weir.post(event()) and weir.metric("weir_stream_subscribers", topic="tail") == 0, "nobody listens any more")
        self.assertHonest()

    def test_the_filter_is_the_servers_and_the_list_is_bounded(self):
        weir = self.weir()
        self.open(weir)
        self.visit("tail")
        self.page.select("select[name=outcome]", "rejected")
        self.page.fill("input[name=source]", "native")
        self.page.press("Enter")
        eventually(lambda: self.page.run("location.hash") == "#/tail?outcome=rejected&source=native", "the filter is in the address")
        self.comes(weir, [event(name="stored"), {"id": "n"}], "tbody", "missing_name")
        self.assertNotIn("stored", self.page.text("tbody").lower())
        self.visit("tail?name=many")
        self.comes(weir, [event(name="many") for _ in range(100)], ".table-foot", "200 events shown")
        self.assertEqual(self.page.count("tbody tr"), 200)
        self.page.click("text=Clear the list")
        self.page.wait_text(".empty", "Nothing that matches")
        self.assertHonest()

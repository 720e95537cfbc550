"""docs/openapi.yaml against the real server: it is valid, it is served, every operation of it answers as it says."""
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import unittest
from urllib.parse import quote

import browser
import harness
from harness import Case, destination, eventually, free_port, request

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "openapi")
FILE = os.path.join(harness.ROOT, "docs", "openapi.yaml")
OWN = {"X-Write-Key": "k"}
POISON = ("bad-1", "bad-2", "bad-3", "bad-4")


def check(exchanges=()):
    """What check.mjs says about the description and these exchanges."""
    browser.install(HERE)
    with open(FILE, encoding="utf-8") as f:
        given = {"description": f.read(), "exchanges": list(exchanges)}
    done = subprocess.run(["node", "check.mjs"], cwd=HERE, input=json.dumps(given), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr[-3000:])
    return json.loads(done.stdout)


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "needs node and npm")
class OpenApi(Case):
    def setUp(self):
        super().setUp()
        self.exchanges = []
        self.ports = {}

    def note(self, listener, method, path, answer, sent, headers):
        body = answer.body if "image/gif" not in answer.header("Content-Type", "") else b""
        self.exchanges.append({
            "listener": listener, "method": method, "path": path, "status": answer.status, "type": answer.header("Content-Type"),
            "body": body.decode(), "sent": sent or "", "sent_type": headers.get("Content-Type", "application/json")})

    def ask(self, target, status, body=None, headers=None):
        """target: "admin GET /livez". Asks, expects the status, keeps both for the check."""
        listener, method, path = target.split(" ", 2)
        headers = {**(OWN if listener == "ingest" else {}), **(headers or {})}
        sent = json.dumps(body) if isinstance(body, (dict, list)) else body
        answer = request(self.ports[listener], method, path, sent, headers)
        self.assertEqual(answer.status, status, f"{target}: {answer}")
        self.note(listener, method, path, answer, sent, headers)
        return answer

    def listen(self, path, wanted, meanwhile=lambda: None):
        """The first frame of a stream of the admin listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["admin"], timeout=harness.PATIENCE)
        connection.request("GET", path)
        stream = connection.getresponse()
        meanwhile()
        text = ""
        while not (f"event: {wanted}" in text and text.endswith("\n\n")):
            text += stream.readline().decode()
        answer = harness.Response(stream.status, {k.lower(): v for k, v in stream.getheaders()}, text.encode())
        connection.close()
        self.note("admin", "GET", path, answer, None, {})

    def test_it_is_a_valid_description_and_what_the_server_serves(self):
        self.assertEqual(check()["problems"], [])
        tokens = [{"name": "boss", "hash": hashlib.sha256(b"boss").hexdigest(), "role": "admin"}]
        weir = self.weir(sections={"tokens": tokens})
        answer = self.assertStatus(weir.get_admin("/openapi.yaml"), 200)
        with open(FILE, "rb") as f:
            self.assertEqual(answer.body, f.read())
        self.assertEqual(answer.header("Content-Type"), "application/yaml; charset=utf-8")

    def test_every_operation_answers_as_it_says(self):
        central = self.central()
        central.fault(mode="poison", ids="|".join(f"^{i}$" for i in POISON), status=422, body="no such product")
        self.ports["pull"] = free_port()
        weir = self.weir(
            destinations=[destination("shop", central.port), destination("gone", free_port(), retry={"max_attempts": 1})],
            keys=[{"key": "k", "tenant": "shop", "ack": ["committed", "received"]},
                  {"key": "slow", "tenant": "shop", "rate": 1, "rate_burst": 1}],
            sections={"consumers": [{"name": "central"}]}, arguments=["--pull", f"127.0.0.1:{self.ports['pull']}"])
        self.ports.update(ingest=weir.ingest, admin=weir.admin)
        self.send()
        self.pull()
        self.repair(weir)
        self.observe(weir)
        self.operate()
        self.sign_in()
        said = check(self.exchanges)
        self.assertEqual(said["problems"], [])
        answered = {one.rsplit(" ", 1)[0] for one in said["seen"] if one.rsplit(" ", 1)[1].startswith("2")}
        self.assertEqual(sorted(set(said["operations"]) - answered), [], "operations that were not asked")

    def send(self):
        lines = {"Content-Type": "application/x-ndjson"}
        self.ask("ingest POST /v1/events?verbose=1", 200, [{"id": "order-1", "name": "purchase", "sessionId": "s"}, {"id": "order-1", "name": "purchase"}, {"x": 1}])
        self.ask("ingest POST /v1/events", 200, '{"name":"a"}\n{"name":"b"}\n', lines)
        self.ask("ingest POST /v1/events?ack=received", 202, {"events": [{"name": "a"}, {"id": 1}]})
        self.ask("ingest POST /v1/events", 400, {"id": "nameless"})
        self.ask("ingest POST /v1/events", 400, "{")
        self.ask("ingest POST /v1/events", 401, {"name": "a"}, {"X-Write-Key": "other"})
        self.ask("ingest POST /v1/events", 200, [{"name": "a"}] * 2, {"X-Write-Key": "slow"})
        self.ask("ingest POST /v1/events", 429, {"name": "a"}, {"X-Write-Key": "slow"})
        self.ask("ingest POST /v1/events", 413, json.dumps({"name": "a" * (2 << 20)}))
        self.ask("ingest POST /events", 200, [{"id": i, "name": "purchase", "properties": {"total": "1,5"}} for i in POISON])
        self.ask("ingest POST /api/analytics/event", 200, {"sessionId": "s", "event": {"name": "a"}})
        self.ask("ingest POST /api/analytics/event", 400, {"event": {}})
        self.ask("ingest POST /api/analytics/event", 400, "[")
        self.ask("ingest POST /api/analytics/events", 200, {"sessionId": "s", "events": [{"name": "a"}, {"name": "b"}]})
        self.ask("ingest GET /v1/pixel.gif?name=open&key=k", 200)
        self.ask("ingest GET /v1/pixel.gif?key=k", 400)
        call = {"userId": "u", "event": "Bought"}
        for path in ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"):
            self.ask(f"ingest POST {path}", 200, {"batch": [{"type": "track", **call}, {"type": "page"}]})
        for name in ("track", "page", "screen", "identify", "group", "alias", "merge"):
            self.ask(f"ingest POST /v1/{name}", 200, call)
            if name != "merge":
                self.ask(f"ingest POST /v1/{name[0]}", 200, call)
        self.ask("ingest POST /v1/track", 400, {"event": "Bought"})
        for path in ("/v1/projects/k/settings", "/sourceConfig?writeKey=k", "/sourceConfig/?writeKey=k", "/health", "/livez", "/readyz"):
            self.ask(f"ingest GET {path}", 200)

    def pull(self):
        for listener in ("pull", "admin"):
            self.ask(f"{listener} GET /livez", 200)
            first = self.ask(f"{listener} POST /pull/v1/central/lease", 200, {"max_events": 2, "wait_ms": 1000}).json
            self.ask(f"{listener} GET /pull/v1/central", 200)
            self.ask(f"{listener} POST /pull/v1/central/renew", 200, {"lease": first["lease"], "lease_seconds": 60})
            self.ask(f"{listener} POST /pull/v1/central/ack", 200, {
                "lease": first["lease"], "nack": [{"seq": first["events"][0]["seq"], "delay_seconds": 0}],
                "reject": [{"seq": first["events"][1]["seq"], "reason": "no such product"}]})
            self.ask(f"{listener} POST /pull/v1/central/ack", 409, {"lease": first["lease"][:-1] + "zz"})
            lines = self.ask(f"{listener} POST /pull/v1/central/lease", 200, {"max_events": 3}, {"Accept": "application/x-ndjson"})
            self.ask(f"{listener} POST /pull/v1/central/release", 200, {"lease": lines.header("Weir-Lease")})
            self.ask(f"{listener} POST /pull/v1/central/lease", 400, {"max_events": 0})
            self.ask(f"{listener} POST /pull/v1/central/seek", 200, {"to": "earliest"})
            self.ask(f"{listener} POST /pull/v1/central/seek", 400, {"to": "yesterday"})
        self.ask("admin POST /api/v1/consumers", 201, {"name": "made", "from": "latest", "filter": {"tenants": ["shop"]}})
        self.ask("admin POST /pull/v1/made/lease", 204, {})
        self.ask("admin POST /api/v1/consumers", 409, {"name": "made"})
        self.ask("admin POST /api/v1/consumers", 400, {"name": "made", "colour": "red"})
        self.ask("admin GET /api/v1/consumers", 200)
        self.ask("admin GET /api/v1/consumers", 200, None, {"Accept": "text/plain"})
        self.ask("admin GET /api/v1/consumers/central", 200)
        self.ask("admin GET /api/v1/consumers/nobody", 404)
        self.ask("admin POST /api/v1/consumers/central/seek", 200, {"to": ["0-1", "1-1"]})
        self.ask("admin POST /api/v1/consumers/central/replay", 200, {"from": "earliest", "to": "latest"})
        self.ask("admin DELETE /api/v1/consumers/made", 200)
        self.ask("admin POST /api/v1/destinations/shop/replay", 200, {"from": "0-1", "to": ["0-2"]})
        self.ask("admin POST /api/v1/destinations/nobody/replay", 404, {"from": "1h"})
        self.ask("admin POST /api/v1/destinations/shop/replay", 400, {"from": "soon"})

    def repair(self, weir):
        failed = lambda: weir.get_admin("/api/v1/failed?destination=shop").json["failed"]  # noqa: E731
        eventually(lambda: len(failed()) == len(POISON), "the poisoned events fail")
        number = [one["id"] for one in failed()]
        self.ask("admin GET /api/v1/failed?limit=1&reason=http_422", 200)
        self.ask("admin GET /api/v1/failed?since=nonsense", 400)
        self.ask(f"admin GET /api/v1/failed/{number[0]}", 200)
        self.ask("admin GET /api/v1/failed/99999", 404)
        self.ask("admin GET /api/v1/failed/export", 200)
        self.ask("admin GET /api/v1/failed/export?format=csv", 200)
        self.ask("admin GET /api/v1/failed/export?format=xml", 400)
        self.ask(f"admin GET /api/v1/events/{POISON[0]}?tenant=shop", 200)
        self.ask("admin GET /api/v1/events/nobody", 404)
        self.ask(f"admin PUT /api/v1/failed/{number[0]}", 200, {"name": "purchase", "total": 1.5})
        self.ask(f"admin PUT /api/v1/failed/{number[0]}", 400, "[]")
        self.ask(f"admin POST /api/v1/failed/{number[1]}/discard", 200)
        self.ask(f"admin DELETE /api/v1/failed/{number[2]}", 200)
        self.ask(f"admin POST /api/v1/failed/{number[0]}/requeue", 200)
        self.ask("admin POST /api/v1/failed/requeue?destination=shop", 200)
        self.ask("admin POST /api/v1/failed/discard?destination=nobody", 200)
        expired = lambda: weir.get_admin("/api/v1/failed/expired").json["expired"]  # noqa: E731
        eventually(expired, "what the destination that is gone was sent once expires")
        self.ask("admin GET /api/v1/failed/expired", 200)
        self.ask("admin POST /api/v1/failed/expired/requeue?destination=gone", 200)
        self.ask("admin POST /api/v1/failed/expired/requeue?destination=central", 409 if any(
            one["destination"] == "central" for one in expired()) else 200)

    def observe(self, weir):
        for path in ("/metrics", "/api/v1/stats?fresh=1", "/api/v1/live-counters", "/api/v1/top?columns=100", "/readyz"):
            self.ask(f"admin GET {path}", 200)
        self.listen("/api/v1/live", "counters")
        self.listen("/api/v1/tail", "event", lambda: eventually(
            lambda: weir.post({"name": "seen"}, headers=OWN) and weir.metric("weir_stream_frames_total", topic="tail", outcome="sent"),
            "somebody is shown an event"))

    def operate(self):
        for path in ("/", "/assets/app.js", "/assets/app.css", "/assets/icon.svg", "/openapi.yaml", "/api/v1/config", "/api/v1/session", "/api/v1/drain"):
            self.ask(f"admin GET {path}", 200)
        self.ask("admin GET /api/v1/session", 403, None, {"Host": "attacker.example"})
        self.ask("admin POST /api/v1/session", 409)
        self.ask("admin POST /api/v1/reload", 200)
        self.ask("admin POST /api/v1/drain", 200)
        self.ask("ingest POST /v1/events", 503, {"name": "late"})
        self.ask("ingest GET /readyz", 503)
        self.ask("admin GET /readyz", 503)
        self.ask("admin POST /api/v1/drain/resume", 200)

    def sign_in(self):
        tokens = [{"name": name, "hash": hashlib.sha256(name.encode()).hexdigest(), "role": role}
                  for name, role in (("boss", "admin"), ("scraper", "metrics"), ("server", "puller"))]
        weir = self.weir(sections={"tokens": tokens, "consumers": [{"name": "central"}]}, settings={"server.admin_streams": 1})
        self.ports.update(admin=weir.admin)
        own = {"Origin": f"http://127.0.0.1:{weir.admin}"}
        bearer = lambda name: {"Authorization": f"Bearer {name}", **own}  # noqa: E731
        self.ask("admin GET /api/v1/stats", 401)
        self.ask("admin GET /api/v1/stats", 403, None, bearer("scraper"))
        self.ask("admin GET /metrics", 200, None, bearer("scraper"))
        self.ask("admin POST /pull/v1/central/lease", 401, {})
        self.ask("admin POST /pull/v1/central/lease", 403, {}, bearer("scraper"))
        self.ask("admin POST /pull/v1/" + quote("no/body", safe="") + "/lease", 404, {}, bearer("server"))
        self.ask("admin POST /api/v1/session", 400, None, own)
        self.ask("admin POST /api/v1/session", 401, None, bearer("nobody"))
        self.ask("admin POST /api/v1/session", 403, None, bearer("scraper"))
        cookie = self.ask("admin POST /api/v1/session", 200, None, bearer("boss")).header("Set-Cookie").split(";")[0]
        self.ask("admin DELETE /api/v1/session", 200, None, {"Cookie": cookie, **own})

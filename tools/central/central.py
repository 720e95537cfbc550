#!/usr/bin/python3
"""A reference central server: what a receiver of Weir's pushes has to do, and faults for tests.

  tools/central/central.py [--listen 127.0.0.1:8090] [--out events.ndjson]
  tools/central/central.py pull --help          the other way round: it pulls (puller.py)

POST any path        a batch, JSON {"batch_id","node","store_id","events":[…]} or NDJSON; gzip, zstd.
                     Each event is taken once by (tenant, id); its place is (store_id, seq).
GET  /counts         {"batches","events","unique","duplicates","tenants":{…},"stores":{…},"gaps":[…]}
GET  /events?after=N the events taken, as NDJSON, in order of arrival
GET  /ids            {"<tenant>/<id>": times received}
POST /admin/fault    {"mode":"…", …} see FAULTS; {"mode":"none"} ends it
POST /admin/reset    forget everything

An event is written out before the batch is answered: the sender forgets it then. A real receiver
would commit a transaction here; this one flushes a file.
"""
import argparse
import gzip
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = """
none        take everything
status      {"status":500,"retry_after":2,"body":"…","times":3}: answer so, take nothing
slow        {"seconds":2}: take it, answer late
hang        never answer
reset       read the request, then reset the connection
take_reset  take it, then reset: the sender cannot know and must send again
poison      {"ids":"regex","status":400}: refuse a batch that holds an event whose id matches
too_large   {"events":10}: 413 above so many events in a batch
garbage     answer bytes that are not HTTP
""".strip()

_decoder = json.JSONDecoder()
_space = re.compile(r"[ \t\r\n]*")


def object_spans(text, at):
    """Yields (key, where its value starts, where it ends) of the JSON object at text[at]."""
    at = _space.match(text, at + 1).end()
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        at = _space.match(text, at).end() + 1          # the colon
        start = _space.match(text, at).end()
        _, end = _decoder.raw_decode(text, start)
        yield key, start, end
        at = _space.match(text, end).end()
        if text[at] == ",":
            at = _space.match(text, at + 1).end()


def events_of(text):
    """Each event of a JSON batch as (parsed, its text)."""
    for key, start, _ in object_spans(text, _space.match(text).end()):
        if key != "events":
            continue
        at = _space.match(text, start + 1).end()
        while text[at] != "]":
            event, end = _decoder.raw_decode(text, at)
            yield event, text[at:end]
            at = _space.match(text, end).end()
            if text[at] == ",":
                at = _space.match(text, at + 1).end()


def raw_text(event_text):
    """The bytes of "raw" in an event, exactly as they came; None when there is none."""
    for key, start, end in object_spans(event_text, 0):
        if key == "raw":
            return event_text[start:end]
    return None


def decoded(body, encoding):
    if encoding == "gzip" or body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    if encoding == "zstd" or body[:4] == b"\x28\xb5\x2f\xfd":
        if not shutil.which("zstd"):
            raise ValueError("zstd body, and no zstd program to read it with")
        return subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout
    return body


class Central:
    """What was received. Thread-safe: each method takes the lock once."""

    def __init__(self, out=None, keep_events=True):
        self._lock = threading.Lock()
        self._out = out
        self._keep = keep_events
        self._fault = {"mode": "none"}
        self.reset()

    def reset(self):
        with self._lock:
            self.received = {}        # (tenant, id) -> times
            self.texts = []           # the event texts taken, in order
            self.positions = {}       # (store_id, shard) -> set of numbers
            self.ids_at = {}          # (store_id, seq) -> (tenant, id), to notice a reused position
            self.conflicts = []
            self.places = {}          # (tenant, id) -> its positions; more than one: stored twice
            self.batches = {}         # batch id -> list of the event ids it carried, per request
            self.requests = []        # (time, status, batch id, number of events, headers)
            self.tenants = {}

    def fault(self, **settings):
        with self._lock:
            self._fault = settings or {"mode": "none"}

    def take_fault(self):
        """The fault that applies to this request."""
        with self._lock:
            fault = self._fault
            if "times" in fault:
                fault["times"] -= 1
                if fault["times"] < 0:
                    self._fault = fault = {"mode": "none"}
            return dict(fault)

    def take(self, store_id, batch_id, pairs):
        """pairs: (event, text). Returns how many were new."""
        new = 0
        with self._lock:
            for event, text in pairs:
                key = (event.get("tenant", ""), event["id"])
                times = self.received.get(key, 0)
                self.received[key] = times + 1
                shard, _, number = event["seq"].partition("-")
                self.positions.setdefault((store_id, shard), set()).add(int(number))
                place = (store_id, event["seq"])
                self.places.setdefault(key, set()).add(place)
                if self.ids_at.setdefault(place, key) != key:
                    self.conflicts.append((place, self.ids_at[place], key))
                if times:
                    continue
                new += 1
                self.tenants[key[0]] = self.tenants.get(key[0], 0) + 1
                if self._keep:
                    self.texts.append(text)
                if self._out:
                    self._out.write(text.replace("\n", " ") + "\n")
            if self._out:
                self._out.flush()
            self.batches.setdefault(batch_id, []).append([e["id"] for e, _ in pairs])
        return new

    def note(self, status, batch_id, events, headers):
        with self._lock:
            self.requests.append((time.time(), status, batch_id, events, headers))

    def stored_twice(self):
        """Ids that came from two positions of one store: the sender's dedupe failed."""
        with self._lock:
            return [k for k, places in self.places.items()
                    if len(places) > len({store for store, _ in places})]

    def gaps(self):
        """Runs of numbers below the highest that never came: [store_id, shard, first, last]."""
        found = []
        with self._lock:
            for (store, shard), numbers in self.positions.items():
                expected = 1
                for number in sorted(numbers):
                    if number > expected:
                        found.append([store, shard, expected, number - 1])
                    expected = number + 1
        return found

    def counts(self):
        gaps = self.gaps()
        with self._lock:
            total = sum(self.received.values())
            return {"batches": len(self.batches), "events": total, "unique": len(self.received),
                    "duplicates": total - len(self.received), "tenants": dict(self.tenants),
                    "stores": {f"{s}/{k}": len(n) for (s, k), n in self.positions.items()},
                    "conflicts": len(self.conflicts), "gaps": gaps[:100]}

    def ids(self):
        with self._lock:
            return {f"{t}/{i}": n for (t, i), n in self.received.items()}

    def events(self, after=0):
        with self._lock:
            return self.texts[after:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def central(self):
        return self.server.central

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=(), content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def reset_connection(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/counts":
            return self.answer(200, self.central.counts())
        if path == "/ids":
            return self.answer(200, self.central.ids())
        if path == "/events":
            after = int(query.partition("after=")[2] or 0)
            text = "".join(t.replace("\n", " ") + "\n" for t in self.central.events(after))
            return self.answer(200, text.encode(), content_type="application/x-ndjson")
        return self.answer(404, {"error": "not_found"})

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self):
        sent = self.body()
        if self.path == "/admin/fault":
            settings = json.loads(sent or b"{}")
            self.central.fault(**settings)
            return self.answer(200, settings)
        if self.path == "/admin/reset":
            self.central.reset()
            return self.answer(200, {})
        try:
            batch = self.parse(sent)
        except (ValueError, KeyError, IndexError, subprocess.SubprocessError) as error:
            self.central.note(422, self.headers.get("Idempotency-Key"), 0, dict(self.headers))
            return self.answer(422, {"error": f"cannot read the batch: {error}"})
        return self.receive(*batch)

    def parse(self, sent):
        """(store id, batch id, [(event, text)]) of either format."""
        text = decoded(sent, self.headers.get("Content-Encoding", "")).decode("utf-8")
        if "ndjson" in self.headers.get("Content-Type", ""):
            pairs = [(json.loads(line), line) for line in text.split("\n") if line.strip()]
            store = self.headers.get("Weir-Store") or (pairs[0][0].get("store_id", "") if pairs else "")
            return store, self.headers.get("Idempotency-Key", ""), pairs
        head = {}
        for key, start, end in object_spans(text, _space.match(text).end()):
            if key != "events":
                head[key] = json.loads(text[start:end])
        return head["store_id"], head["batch_id"], list(events_of(text))

    def receive(self, store_id, batch_id, pairs):
        fault = self.central.take_fault()
        mode = fault["mode"]
        headers = dict(self.headers)
        headers["_path"] = self.path
        if mode == "hang":
            self.central.note(0, batch_id, len(pairs), headers)
            self.server.released.wait(600)
            return self.reset_connection()
        if mode == "reset":
            self.central.note(0, batch_id, len(pairs), headers)
            return self.reset_connection()
        if mode == "garbage":
            self.central.note(0, batch_id, len(pairs), headers)
            self.wfile.write(b"\x00\xff\x13 this is not HTTP\r\n\r\n")
            self.close_connection = True
            return None
        status, extra, body = 200, [], None
        if mode == "status":
            status, body = fault["status"], fault.get("body")
            if "retry_after" in fault:
                extra = [("Retry-After", str(fault["retry_after"]))]
        elif mode == "poison" and any(re.search(fault["ids"], e["id"]) for e, _ in pairs):
            status = fault.get("status", 400)
            body = fault.get("body", "this batch holds an event I refuse")
        elif mode == "too_large" and len(pairs) > fault["events"]:
            status = 413
        self.central.note(status, batch_id, len(pairs), headers)
        if status >= 300:
            return self.answer(status, {"error": body or "as told by /admin/fault"}, extra)
        new = self.central.take(store_id, batch_id, pairs)
        if mode == "take_reset":
            return self.reset_connection()
        if mode == "slow":
            time.sleep(fault.get("seconds", 1))
        return self.answer(status, {"taken": new, "known": len(pairs) - new}, extra)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, central):
        super().__init__(address, Handler)
        self.central = central
        self.released = threading.Event()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, BrokenPipeError, ValueError)):
            super().handle_error(request, client_address)


def start(port=0, **options):
    """A central server in this process: (Central, Server); its port is server.server_address[1]."""
    central = Central(**options)
    server = Server(("127.0.0.1", port), central)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return central, server


def stop(server):
    server.released.set()
    server.shutdown()
    server.server_close()


def main():
    if sys.argv[1:2] == ["pull"]:
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import puller
        return puller.main(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:8090")
    parser.add_argument("--out", help="append the events taken to this NDJSON file")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    out = open(options.out, "a", encoding="utf-8") if options.out else None
    server = Server((host, int(port)), Central(out))
    print(f"central server on http://{host}:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        if out:
            out.flush()
            os.fsync(out.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())

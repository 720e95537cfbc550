#!/usr/bin/python3
"""The demo behind tools/run: Weir, a central server as its destination, real clients.

Without --check it stays and sends a little traffic until Ctrl-C. Weir may be killed (SIGKILL) meanwhile: it is started again.
"""
import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import clients  # noqa: E402
from clients import central_server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(clients.HERE))
WEIR = os.path.join(ROOT, "build", "release", "weir")


def free_port(wanted):
    """The wanted port, or any when it is taken."""
    for port in (wanted, 0):
        try:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
                return s.getsockname()[1]
        except OSError:
            continue
    raise SystemExit("no free port on 127.0.0.1")


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status


def start_weir(data, ingest, admin, forward):
    process = subprocess.Popen(
        [WEIR, "serve", "--listen", f"127.0.0.1:{ingest}", "--admin", f"127.0.0.1:{admin}",
         "--data", data, "--forward", forward], stdin=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 20
    while True:
        if process.poll() is not None:
            raise SystemExit(f"weir ended with {process.returncode}; its last lines above say why")
        try:
            if get(f"http://127.0.0.1:{ingest}/readyz") == 200:
                return process
        except OSError:
            pass
        if time.monotonic() > deadline:
            process.kill()
            raise SystemExit("weir was not ready within 20 s")
        time.sleep(0.05)


def send_with_real_clients(ingest, page, central, prefix):
    """Problems as lines; prints what each client did."""
    problems = []
    for name, call in (
            ("@segment/analytics-node", lambda url: clients.run_client("segment.mjs", url, "demo", 60, prefix)),
            ("@rudderstack/rudder-sdk-node", lambda url: clients.run_client("rudder.mjs", url, "demo", 60, prefix)),
            ("Chromium: fetch, sendBeacon", lambda url: clients.run_client(
                "browser.mjs", f"http://127.0.0.1:{page}/", url, "demo", prefix))):
        recorder = clients.Recorder(ingest)
        try:
            ids = call(f"http://127.0.0.1:{recorder.port}")
            wanted = set(ids)
            deadline = time.monotonic() + 20
            while wanted - {i for _, i in list(central.received)} and time.monotonic() < deadline:
                time.sleep(0.05)
            found = clients.differences(recorder, central, ids)
        except (RuntimeError, subprocess.SubprocessError, ValueError) as error:
            ids, found = [], [str(error)]
        finally:
            recorder.close()
        problems += [f"{name}: {p}" for p in found]
        print(f"  {name:32} {len(ids):4} events sent, "
              + ("all arrived, each byte for byte" if not found else f"{len(found)} problems"), flush=True)
    return problems


def sample_traffic(ingest, stop_at):
    """A few events a second, as a shop would send them, until stop_at() says so."""
    names = ["page_view"] * 6 + ["product_viewed"] * 3 + ["add_to_cart", "purchase_completed"]
    count = 0
    while not stop_at():
        body = '{"id":"sample-%d-%d","name":"%s","sessionId":"s%d","shopId":"shop_123","properties":{"price":%.2f}}' % (
            int(time.time() * 1000), count, random.choice(names), random.randrange(50), random.uniform(1, 200))
        request = urllib.request.Request(f"http://127.0.0.1:{ingest}/v1/events", body.encode(),
                                         {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError as error:
            print(f"  sample event not accepted: {error}", flush=True)
        count += 1
        time.sleep(0.3)


def main():
    parser = argparse.ArgumentParser(prog="tools/run", description="Builds and shows Weir at work.")
    parser.add_argument("--check", action="store_true", help="send, verify that everything arrived, end")
    options = parser.parse_args()
    error = clients.install()
    if error:
        print(f"npm could not install the demo's clients:\n{error}", file=sys.stderr)
        return 1

    data = tempfile.mkdtemp(prefix="weir-demo-") if options.check else os.path.join(ROOT, "build", "demo", "weir-data")
    os.makedirs(data, exist_ok=True)
    ingest = free_port(0 if options.check else 8080)
    admin = free_port(0 if options.check else 9090)
    central, server = central_server.start(0 if options.check else free_port(8090))
    pages, page = clients.page_server(0 if options.check else free_port(8088))
    central_port = server.server_address[1]
    forward = f"http://127.0.0.1:{central_port}/events"
    weir = start_weir(data, ingest, admin, forward)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    try:
        print("sending with unmodified clients:", flush=True)
        problems = send_with_real_clients(ingest, page, central, f"demo{int(time.time())}")
        print(f"\nweir status --server http://127.0.0.1:{admin}", flush=True)
        status = subprocess.run([WEIR, "status", "--server", f"http://127.0.0.1:{admin}"], timeout=30)
        if status.returncode != 0:
            problems.append(f"weir status ended with {status.returncode}")
        for problem in problems[:20]:
            print(f"PROBLEM {problem}")
        if not options.check:
            print(f"""
  dashboard         http://127.0.0.1:{admin}/
  ingest            http://127.0.0.1:{ingest}/v1/events
  admin, metrics    http://127.0.0.1:{admin}/metrics
  statistics        http://127.0.0.1:{admin}/api/v1/stats
  a page that sends http://127.0.0.1:{page}/?collector=http://127.0.0.1:{ingest}
  central server    http://127.0.0.1:{central_port}/counts
  data directory    {data}

  curl -d '{{"id":"mine-1","name":"hello"}}' http://127.0.0.1:{ingest}/v1/events
  {os.path.relpath(WEIR)} event mine-1 --server http://127.0.0.1:{admin}
  kill -9 {weir.pid}          it is started again, and nothing that was acknowledged is lost

Sample traffic is running. Ctrl-C ends everything.""", flush=True)
            sample_traffic(ingest, lambda: stopped or weir.poll() is not None)
            while not stopped and weir.poll() == -signal.SIGKILL:
                weir = start_weir(data, ingest, admin, forward)
                print(f"weir was killed; it runs again, with pid {weir.pid}", flush=True)
                sample_traffic(ingest, lambda: stopped or weir.poll() is not None)
    finally:
        if weir.poll() is None:
            weir.terminate()
        code = weir.wait(30)
        central_server.stop(server)
        pages.shutdown()
        if options.check:
            shutil.rmtree(data, ignore_errors=True)
    if code != 0:
        problems.append(f"weir ended with {code}")
        print(problems[-1])
    if options.check:
        print(f"{3 if not problems else 0} passed, {1 if problems else 0} failed, 0 skipped")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""The rows about volume: backlog, dedupe index, restart, memory, idle connections, drain, reactors."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from load import summary
from machine import allow_many_files, drop_caches, free_gb, meminfo_kib
from servers import Weir, free_port, start_sink

# Nothing listens there: events wait.
NOWHERE = "http://127.0.0.1:9/"
QUICK_RETRY = 'retry = { base = "50ms", cap = "200ms" }'
PREFILL = ["-c", "8", "-m", "1000", "-s", "200"]


def prefill(context, server, events, arguments=PREFILL, batch=1000):
    """Sends until so many more are stored."""
    begun = time.monotonic()
    context.load.run(server, [*arguments, "-n", events // batch], 3600, warmup=0)
    context.say(f"  {events / 1e6:g} M events in {time.monotonic() - begun:.0f} s")


def volume(context):
    """One store filled step by step; beside it a new one, so that the machine's moods cancel out."""
    steps = context.volume_steps
    need_gb = steps[-1] * 400 / 1e9 + 5
    if free_gb(context.directory) < need_gb:
        context.say(f"  skipped: needs {need_gb:.0f} GB of disk, {free_gb(context.directory):.0f} are free")
        return
    full = context.weir("full", NOWHERE)
    loads = {"single": ["-c", "256"], "batch of 100": ["-c", "64", "-m", "100"]}
    for step in (0, *steps):
        if step > full.events():
            prefill(context, full, step - int(full.events()))
        empty = context.weir(f"empty-{step}", NOWHERE)
        for name, arguments in loads.items():
            compare_filled(context, full, empty, step, name, arguments)
        context.close(empty)
    memory(context, full)
    if not context.options.no_restart:
        restart(context, full)


def compare_filled(context, full, empty, step, name, arguments):
    runs = {"full": [], "empty": []}
    for _ in range(context.rounds):
        for key, server, other in (("empty", empty, full), ("full", full, empty)):
            other.pause()
            runs[key].append(context.load.run(server, arguments, context.seconds))
            other.resume()
    rows = {key: summary(of_key) for key, of_key in runs.items()}
    value = rows["full"]["cpu_us_per_event"] / rows["empty"]["cpu_us_per_event"]
    entries = full.metric("weir_dedupe_entries")
    context.say(f"  {name} at {step / 1e6:g} M: CPU/event {rows['full']['cpu_us_per_event']:.3f} us, beside a new "
                f"store {rows['empty']['cpu_us_per_event']:.3f} us; {entries / 1e6:.1f} M fingerprints")
    if step:
        context.row(f"backlog {step / 1e6:g} M events, {name}: CPU per event / new store", value, "x", at_most=1.10,
                    note=f"{full.metric('weir_store_events') / 1e6:.1f} M events stored, {entries / 1e6:.1f} M "
                         "fingerprints", details=rows)


def memory(context, server):
    time.sleep(1)
    entries = server.metric("weir_dedupe_entries")
    bodies = server.metric("weir_body_budget_used_bytes")
    used = server.rss_anon() / 1e6
    allowed = (64e6 + 24 * entries + bodies) / 1e6
    context.row("anonymous memory after that", used, "MB", at_most=allowed,
                note=f"64 MB + 24 B x {entries / 1e6:.1f} M fingerprints + {bodies / 1e6:.1f} MB of bodies held")


def restart(context, server):
    """Time from exec to /readyz; the cold start also reads what the page cache lost."""
    took, stored = {}, server.metric("weir_store_events")
    for how in ("warm", "cold", "warm, after kill -9"):
        if how.endswith("kill -9"):
            server.stop(signal.SIGKILL)
        else:
            server.stop()
        if how == "cold" and not drop_caches():
            context.say("  cold: skipped, may not drop the page cache (run as root)")
            server.start()
            continue
        begun = time.monotonic()
        server.start()
        took[how] = time.monotonic() - begun
        context.say(f"  restart, {how}: ready after {took[how]:.2f} s")
    entries = server.metric("weir_dedupe_entries")
    context.row(f"restart with {stored / 1e6:.1f} M events: ready, warm", took["warm"], "s", at_most=3,
                note=", ".join(f"{how} {s:.2f} s" for how, s in took.items()) +
                     f"; {entries / 1e6:.1f} M fingerprints", details=took)


def idle_connections(context, count=10_000):
    """Connections that sent one request and stay open."""
    if allow_many_files() < count + 100:
        context.say(f"  skipped: needs {count} open files (ulimit -n)")
        return
    server = context.weir("idle")
    body = b'{"name":"idle","campaign_id":"c","tracking_id":"t"}'
    request = (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: bench\r\nContent-Length: %d\r\n\r\n" % len(body)) + body

    def open_some(number):
        sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(number)]
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            if not one.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("an idle connection was not served")
        return sockets

    first = open_some(100)
    time.sleep(0.5)
    anonymous, slab = server.rss_anon(), meminfo_kib("Slab")
    sockets = open_some(count)
    time.sleep(1)
    each = (server.rss_anon() - anonymous) / count
    kernel = (meminfo_kib("Slab") - slab) * 1024 / count
    opened = server.metric('weir_connections_open{listener="ingest"')
    for one in first + sockets:
        one.close()
    context.row(f"{count} idle connections: anonymous memory each", each / 1024, "KiB", at_most=8,
                note=f"{opened:.0f} open; kernel slab {kernel / 1024:.1f} KiB each, both ends together")


def drain(context):
    """A backlog sent to a local sink while 10,000 new events a second come in."""
    for compression, target in (("none", 300e3), ("gzip", 150e3), ("zstd", None)):
        port = free_port()
        directory = os.path.join(context.directory, f"drain-{compression}")
        server = context.weir(f"drain-{compression}", f"http://127.0.0.1:{port}/",
                              destination=f'compression = "{compression}"\n{QUICK_RETRY}')
        prefill(context, server, context.drain_events, ["-c", "8", "-m", "1000"])
        started = context.load.start(server, ["-c", "64"], context.seconds + 3, rate=10_000, warmup=0)
        time.sleep(1)
        sink = start_sink(os.path.join(directory, "sink"), port)
        sent = 'weir_forward_events_total{destination="sink",outcome="sent"'
        until = time.monotonic() + 10
        while server.metric(sent) == 0 and time.monotonic() < until:
            time.sleep(0.02)
        begun, first, cpu = time.monotonic(), server.metric(sent), server.cpu_seconds()
        while time.monotonic() < begun + context.seconds and server.metric("weir_forward_pending_events") > 20_000:
            time.sleep(0.1)
        took, events = time.monotonic() - begun, server.metric(sent) - first
        cpu = (server.cpu_seconds() - cpu) * 1e6 / max(events, 1)
        ingest = context.load.finish(started)
        sink.stop()
        context.close(server)
        context.row(f"drain, {'plain' if compression == 'none' else compression}: events/s", events / took, "/s",
                    at_least=target, note=f"{events / 1e6:.2f} M in {took:.1f} s, all CPU {cpu:.2f} us per event sent; "
                    f"meanwhile {ingest['requests_per_second']:.0f} new/s at p99 {ingest['latency_ns']['p99'] / 1e6:.1f} ms",
                    details=summary([ingest]))


def instructions(context, shards, requests):
    """Instructions callgrind counts while so many requests are served, start and stop included."""
    directory = os.path.join(context.directory, f"callgrind-{shards}-{requests}")
    preload = os.path.join(context.build, "libweir_uring_poll.so")
    server = Weir(context.build, directory, shards=shards, extra="[dedupe]\nmax_entries = 100000",
                  wrap=["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out"],
                  environment={"LD_PRELOAD": preload})
    server.command = server.command[3:]  # not pinned: two reactors, and valgrind runs one at a time
    server.start()
    context.load.run(server, ["-c", "32", "-n", requests], 300, warmup=0)
    server.stop()
    with open(f"{directory}/out", encoding="utf-8", errors="replace") as f:
        text = f.read()
    total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1))
    shutil.rmtree(directory, ignore_errors=True)
    return total


def reactors(context):
    """The same number of requests on one reactor and on two: what sharing would cost shows as instructions."""
    if not shutil.which("valgrind"):
        context.say("  skipped: apt-get install valgrind")
        return
    per_request = {}
    few, many = context.callgrind_requests
    for shards in (1, 2):
        less, more = instructions(context, shards, few), instructions(context, shards, many)
        per_request[shards] = (more - less) / (many - few)
        context.say(f"  {shards} reactor{'s' if shards > 1 else ''}: {per_request[shards]:.0f} instructions per request "
                    f"in all threads")
    context.row("two reactors / one: instructions per request", per_request[2] / per_request[1], "x", at_most=1.05,
                note=f"{per_request[1]:.0f} -> {per_request[2]:.0f}, callgrind, user space of all threads",
                details=per_request)

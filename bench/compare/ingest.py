"""The rows about requests: throughput, CPU and latency beside the peers and the bare LMDB loop."""
import time

from load import line_of, median, summary
from machine import MB


def beside_peers(context, arguments):
    """The same load on Weir and every peer in turn; the others stand still meanwhile. Medians by name."""
    servers = context.with_peers()
    runs = {server.name: [] for server in servers}
    delivered = {server.name: [] for server in servers}
    for server in servers:
        server.pause()
    for _ in range(context.rounds):
        for server in servers:
            server.resume()
            before, events = server.cpu_seconds(), server.events()
            runs[server.name].append(context.load.run(server, arguments, context.seconds))
            if server.settle(context.settle_seconds):
                # Everything that was received, warm-up included, and sent to the destination.
                events = server.events() - events
                delivered[server.name].append((server.cpu_seconds() - before) * 1e6 / max(events, 1))
            server.pause()
    for server in servers:
        server.resume()
    rows = {name: summary(of_server) for name, of_server in runs.items()}
    for name, row in rows.items():
        context.say(line_of(name, row))
    for name, of_server in delivered.items():
        if of_server:
            rows[name]["cpu_us_per_event_delivered"] = sorted(of_server)[len(of_server) // 2]
            context.say(f"  {name}, until everything had been sent to the destination too: "
                        f"{rows[name]['cpu_us_per_event_delivered']:.3f} us CPU/event")
    for server in servers:
        errors = server.errors_logged()
        if errors:
            context.say(f"  {server.name} logged {len(errors)} errors, the first: {errors[0]}")
    return rows


def ratio(rows, figure, peer="nginx"):
    return rows["weir"][figure] / rows[peer][figure]


def peer_ratios(rows):
    return ", ".join(f"{name}: CPU/request {ratio(rows, 'cpu_us_per_request', name):.2f} x, requests/s "
                     f"{ratio(rows, 'requests_per_second', name):.2f} x"
                     for name in rows if name != "weir")


def commit_limit(context, connections):
    """What the device allows: every connection waits for one commit."""
    floor = context.floor("--group", connections)
    return floor["records_per_second"]


def single(context, connections, with_cpu):
    rows = beside_peers(context, ["-c", connections, "-m", "1"])
    limit = commit_limit(context, connections)
    context.say(f"  weir against each peer: {peer_ratios(rows)}")
    if with_cpu:
        context.row(f"single, {connections} connections: CPU per request / nginx", ratio(rows, "cpu_us_per_request"),
                    "x", at_most=1.0, details=rows)
    context.row(f"single, {connections} connections: requests/s / nginx", ratio(rows, "requests_per_second"), "x",
                at_least=0.9, note=f"bare LMDB commits of {connections}: {limit:.0f} records/s", details=rows)


def single_256(context):
    single(context, 256, True)


def single_1024(context):
    single(context, 1024, False)


def batch_100(context):
    rows = beside_peers(context, ["-c", "64", "-m", "100"])
    weir = rows["weir"]
    limit = context.device["write_mb_per_s"] * MB / max(weir["written_bytes_per_event"], 1)
    context.row("batch of 100: CPU per event", weir["cpu_us_per_event"], "us", at_most=0.8, details=rows)
    context.row("batch of 100: events/s", weir["events_per_second"], "/s", at_least=1e6,
                note=f"{weir['written_bytes_per_event']:.0f} bytes written per event: at "
                     f"{context.device['write_mb_per_s']:.0f} MB/s the device takes {limit:.0f}/s")


def latency_64(context):
    """p50 of 64 connections against a bare commit, and against the time one core needs for 64 requests."""
    rows = beside_peers(context, ["-c", "64", "-m", "1"])
    commits = {n: context.floor("--group", n)["p50_us"] / 1000 for n in (1, 32, 64)}
    # With 64 waiting, one core answers each of them once per 64 x CPU: nginx shows that floor.
    cpu_floor = rows["nginx"]["p50_ms"]
    allowed = max(2.5 * commits[64], 2 * cpu_floor)
    context.say("  bare LMDB commit, p50: " + ", ".join(f"{n} records {ms:.3f} ms" for n, ms in commits.items()) +
                f"   CPU floor (nginx's p50): {cpu_floor:.3f} ms")
    context.row("64 connections: p50", rows["weir"]["p50_ms"], "ms", at_most=allowed,
                note=f"2.5 x a bare commit of 64 = {2.5 * commits[64]:.3f}, 2 x CPU floor = {2 * cpu_floor:.3f}",
                details=rows)


def open_loop_20k(context):
    """The same arrivals, replayed on a bare LMDB loop without a network."""
    server = context.weir("open", context.sink())
    runs, floors = [], []
    for _ in range(context.rounds):
        runs.append(context.load.run(server, ["-c", "64", "-m", "1"], context.seconds, rate=20_000))
        server.settle(context.settle_seconds)
        floors.append(context.floor("--rate", 20_000))
    row = summary(runs)
    context.say(line_of("weir", row))
    floor = {key: median(floors, lambda f, key=key: f[key]) / 1000 for key in ("p50_us", "p99_us")}
    context.say(f"  bare LMDB, same arrivals: p50 {floor['p50_us']:.3f} ms  p99 {floor['p99_us']:.3f} ms   p99 of each "
                f"round: " + ", ".join(f"{r['latency_ns']['p99'] / 1e6:.2f}/{f['p99_us'] / 1000:.2f}"
                                       for r, f in zip(runs, floors)))
    context.row("open loop, 20,000/s: p99 / bare LMDB's p99", row["p99_ms"] / floor["p99_us"], "x", at_most=1.5,
                note=f"{row['p99_ms']:.2f} ms against {floor['p99_us']:.2f} ms", details={"weir": row, "floor": floor})


def beside_4_mb(context):
    """64 connections with single events, without and with one connection that sends batches of 4 MB."""
    server = context.weir("mixed", context.sink())
    alone, beside, big = [], [], []
    singles, batches = ["-c", "64", "-m", "1"], ["-c", "1", "-m", "10000"]
    for _ in range(context.rounds):
        alone.append(context.load.run(server, singles, context.seconds))
        server.settle(context.settle_seconds)
        # The batches begin before and end after what is measured.
        started = context.load.start(server, batches, context.seconds + 1.5, nice=5, warmup=0)
        time.sleep(0.5)
        beside.append(context.load.run(server, singles, context.seconds, warmup=0.5))
        big.append(context.load.finish(started))
        server.settle(context.settle_seconds)
    rows = {"alone": summary(alone), "beside": summary(beside), "4 MB": summary(big)}
    for name, row in rows.items():
        context.say(line_of(name, row))
    context.row("singles beside 4 MB batches: p99 / p99 without", rows["beside"]["p99_ms"] / rows["alone"]["p99_ms"],
                "x", at_most=2, note=f"{rows['alone']['p99_ms']:.2f} -> {rows['beside']['p99_ms']:.2f} ms, beside "
                                     f"{rows['4 MB']['events_per_second']:.0f} events/s in batches", details=rows)


def slices(context):
    """Over everything this run has sent to Weir so far; with --only slices, over singles and batches."""
    if context.load.slices == 0:
        server = context.weir("slices", context.sink())
        for arguments in (["-c", "256"], ["-c", "64", "-m", "100"], ["-c", "1", "-m", "10000"]):
            context.load.run(server, arguments, context.seconds)
    share = 100 * context.load.overruns / max(context.load.slices, 1)
    context.row("parse slices above 500 us", share, "%", at_most=0.01,
                note=f"{context.load.overruns:.0f} of {context.load.slices:.0f}")

"""Runs weir-bench and the bare LMDB loop on their cores, and adds up what several rounds gave."""
import json
import os
import statistics
import subprocess

from machine import LOAD_CPU, SERVER_CPU


class Load:
    """Where results of all runs meet: parse slices are judged over everything that was measured."""

    def __init__(self, build, directory):
        self.build, self.directory = build, directory
        self.slices = self.overruns = 0
        self.count = 0

    def start(self, server, arguments, seconds, rate=None, cpu=LOAD_CPU, nice=0, warmup=1):
        """A weir-bench that runs; finish() waits for it."""
        self.count += 1
        out = os.path.join(self.directory, f"result-{self.count}.json")
        command = ["nice", "-n", str(nice), "taskset", "-c", cpu, os.path.join(self.build, "weir-bench"),
                   f"http://127.0.0.1:{server.port}/v1/events", "-d", f"{seconds * 1000:.0f}ms",
                   "--warmup", str(warmup), "--json", out, "-k", "bench", "--no-live", *map(str, arguments)]
        if rate:
            command += ["-r", str(rate)]
        if server.metrics_url:
            command += ["--metrics", server.metrics_url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return process, command, out

    def finish(self, started):
        process, command, out = started
        errors = process.communicate()[1]
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{errors}")
        with open(out, encoding="utf-8") as f:
            result = json.load(f)
        os.unlink(out)
        metrics = result["server_metrics"]
        self.slices += sum(v for k, v in metrics.items() if k.startswith("weir_parse_slice_seconds_count"))
        self.overruns += sum(v for k, v in metrics.items() if k.startswith("weir_parse_slice_overruns_total"))
        return result

    def run(self, server, arguments, seconds, **more):
        return self.finish(self.start(server, arguments, seconds, **more))

    def floor(self, seconds, *arguments):
        """The bare LMDB commit loop on the server's core."""
        command = ["taskset", "-c", SERVER_CPU, os.path.join(self.build, "lmdb_floor"), self.directory,
                   "--seconds", str(seconds), *map(str, arguments)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def median(runs, pick):
    return statistics.median(pick(run) for run in runs)


def summary(runs):
    """Medians over the rounds; memory and wrong answers: the worst."""
    return {
        "requests_per_second": median(runs, lambda r: r["requests_per_second"]),
        "events_per_second": median(runs, lambda r: r["events_per_second"]),
        "p50_ms": median(runs, lambda r: r["latency_ns"]["p50"]) / 1e6,
        "p99_ms": median(runs, lambda r: r["latency_ns"]["p99"]) / 1e6,
        "cpu_us_per_request": median(runs, lambda r: r["server"]["cpu_us_per_request"]),
        "cpu_us_per_event": median(runs, lambda r: r["server"]["cpu_us_per_event"]),
        "load_cpu_us_per_request": median(runs, lambda r: r["load_generator"]["cpu_us_per_request"]),
        "load_busiest_thread": max(r["load_generator"]["busiest_thread"] for r in runs),
        "kernel_cpu_us_per_event": median(
            runs, lambda r: r["kernel"]["thread_cpu_seconds"] * 1e6 / max(r["events"], 1)),
        "written_bytes_per_event": median(runs, lambda r: r["kernel"]["written_bytes"] / max(r["events"], 1)),
        "rss_anon_mb": max(r["server"]["rss_anon_bytes"] for r in runs) / 1e6,
        "rss_mb": max(r["server"]["rss_bytes"] for r in runs) / 1e6,
        "wrong_answers": sum(r["wrong_answers"] for r in runs),
        "answers_503": sum(r["status"]["503"] for r in runs),
    }


def line_of(name, row):
    return ("  {:<11}{requests_per_second:>9.0f} requests/s {events_per_second:>9.0f} events/s   p50 {p50_ms:7.3f} ms  "
            "p99 {p99_ms:7.3f} ms   CPU {cpu_us_per_request:6.2f} us/request {cpu_us_per_event:6.3f} us/event  "
            "+ kernel threads {kernel_cpu_us_per_event:5.3f}   RssAnon {rss_anon_mb:6.1f} MB (RSS {rss_mb:.0f})   "
            "load {load_cpu_us_per_request:5.2f} us/request, {load_busy:.0f} % busy   wrong {wrong_answers}").format(
                name, load_busy=100 * row["load_busiest_thread"], **row)

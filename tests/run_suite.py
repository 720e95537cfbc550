#!/usr/bin/python3
"""Builds and runs every test, in parallel where it helps; tools/test calls it.

A step is a build or a run; it starts when what it needs is done. Builds follow one another (each
uses every core), runs share the rest. One line per step as it ends; the output of a failed one.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = ["/usr/bin/python3", "-B"]
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
OUTPUT_LINES = 150      # of a failed step


class Step:
    """kind "build" steps run one at a time, in order; "run" steps as soon as their needs are met and
    what they come after, if it is part of this run, has ended."""

    def __init__(self, name, kind, needs, action, about, after=()):
        self.name, self.kind, self.needs, self.action, self.about = name, kind, needs, action, about
        self.after = list(after)
        self.state = "waiting"
        self.counts = (0, 0, 0)
        self.output = ""
        self.seconds = 0.0


_processes = set()
_lock = threading.Lock()


def execute(command, timeout, env=None, nice=0):
    """(exit code, output). Its own process group, so that nothing survives a timeout."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        env={**os.environ, **(env or {})}, preexec_fn=(lambda: os.nice(nice)) if nice else None)
    with _lock:
        _processes.add(process)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 124, f"{output}\nnot done after {timeout} s\n"
    finally:
        with _lock:
            _processes.discard(process)


def stop_everything():
    with _lock:
        for process in _processes:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


def compiler_cache():
    """ccache where it is installed, set so that another clone of the same tree hits it too."""
    if not shutil.which("ccache"):
        return [], {}
    return (["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", "-DCMAKE_C_COMPILER_LAUNCHER=ccache"],
            {"CCACHE_BASEDIR": ROOT, "CCACHE_NOHASHDIR": "1", "CCACHE_SLOPPINESS": "time_macros"})


def build(preset, *targets):
    def action(_options):
        launcher, env = compiler_cache()
        if not os.path.exists(os.path.join(ROOT, "build", preset, "build.ninja")):
            code, output = execute(["cmake", "--preset", preset, *launcher], 120, env)
            if code != 0:
                return (0, 1, 0), output
        code, output = execute(["cmake", "--build", f"build/{preset}",
                                *(["--target", *targets] if targets else [])], 1500, env, nice=5)
        return ((0, 0, 0) if code == 0 else (0, 1, 0)), output
    return action


def unit_tests(preset):
    """Each gtest program of a preset by itself, two at a time; its cases are counted."""
    def one(program, results):
        report = tempfile.mktemp(prefix="weir-gtest-", suffix=".json")
        code, output = execute([program, f"--gtest_output=json:{report}", "--gtest_brief=1"], 400,
                               {"UBSAN_OPTIONS": "print_stacktrace=1",
                                "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"})
        passed = failed = skipped = 0
        try:
            with open(report, encoding="utf-8") as f:
                for suite in json.load(f)["testsuites"]:
                    for case in suite["testsuite"]:
                        if case.get("result") == "SKIPPED":
                            skipped += 1
                        elif case.get("failures"):
                            failed += 1
                        elif case.get("result") == "COMPLETED":
                            passed += 1
        except (OSError, ValueError, KeyError):
            pass
        finally:
            if os.path.exists(report):
                os.unlink(report)
        if code != 0 and failed == 0:
            failed = 1      # it crashed, or a sanitizer spoke after the last case
        results.append((passed, failed, skipped, output if code != 0 else ""))

    def action(_options):
        programs = sorted(p for p in glob.glob(os.path.join(ROOT, "build", preset, "tests", "*"))
                          if os.access(p, os.X_OK) and os.path.isfile(p))
        if not programs:
            return (0, 1, 0), f"no test programs in build/{preset}/tests"
        results, waiting = [], list(programs)

        def worker():
            while True:
                with _lock:
                    if not waiting:
                        return
                    program = waiting.pop(0)
                one(program, results)

        threads = [threading.Thread(target=worker) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = tuple(sum(r[i] for r in results) for i in range(3))
        return counts, "\n".join(r[3] for r in results if r[3])
    return action


def counted(command, timeout, env=None):
    """A program whose last line is "N passed, N failed, N skipped"."""
    def action(options):
        code, output = execute(command(options) if callable(command) else command,
                               timeout(options) if callable(timeout) else timeout, env)
        found = SUMMARY.findall(output)
        counts = tuple(map(int, found[-1])) if found else (0, 0, 0)
        if code != 0 and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        if code == 0 and not found:
            return (0, 1, 0), output + "\nno summary line"
        return counts, output
    return action


def fuzz(options):
    """Each fuzzer over its corpus and then on its own for a while."""
    programs = sorted(p for p in glob.glob(os.path.join(ROOT, "build", "fuzz", "fuzz", "*_fuzzer"))
                      if os.access(p, os.X_OK))
    if not programs:
        return (0, 1, 0), "no fuzzers in build/fuzz"
    each = 600 if options.long else max(5, 30 // len(programs))
    passed, failed, outputs = 0, 0, []
    for program in programs:
        name = os.path.basename(program)
        with tempfile.TemporaryDirectory(prefix="weir-fuzz-") as scratch:
            corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", name.removesuffix("_fuzzer"))
            code, output = execute([program, f"-max_total_time={each}", "-timeout=10",
                                    "-rss_limit_mb=2048", "-print_final_stats=1",
                                    f"-artifact_prefix={ROOT}/build/fuzz/", scratch, *([corpus] if os.path.isdir(corpus) else [])],
                                   each + 120)
        passed += code == 0
        failed += code != 0
        outputs.append(output if code else "")
    return (passed, failed, 0), "\n".join(o for o in outputs if o)


def tidy_command(options):
    return [*PYTHON, "tests/tidy/tidy.py", "--weir", "build/dev/weir",
            "--budget", "3600" if options.long else "150"]


def long_flag(options):
    return ["--long"] if options.long else []


# Real servers and a browser, with time limits of their own: not beside compilers.
BUILDS = ("build-dev", "build-release", "build-tiny", "build-tsan", "build-fuzz")

STEPS = [
    Step("tidy-rules", "run", [], counted([*PYTHON, "tests/run_unittest.py", "tests/tidy"], 60),
         "the house rules can fail"),
    Step("build-dev", "build", [], build("dev"), "address and undefined sanitizers"),
    Step("unit-dev", "run", ["build-dev"], unit_tests("dev"), "unit tests, sanitized"),
    Step("e2e", "run", ["build-dev"],
         counted(lambda o: [*PYTHON, "tests/run_unittest.py", "tests/e2e", *long_flag(o)],
                 lambda o: 7200 if o.long else 2400, {"WEIR_BIN": "build/dev/weir"}),
         "the sanitized binary from outside", after=BUILDS),
    Step("tidy", "run", ["build-dev"], counted(tidy_command, 3700), "house rules, format, clang-tidy, docs"),
    Step("build-release", "build", [], build("release"), "what users run, and the benchmarks"),
    Step("crash", "run", ["build-release", "e2e"],
         counted(lambda o: [*PYTHON, "tests/run_unittest.py", "tests/crash", *long_flag(o)],
                 lambda o: 14_400 if o.long else 1200, {"WEIR_BIN": "build/release/weir"}),
         "kill -9, power cuts, failing disks, flipped bits"),
    Step("build-tiny", "build", [], build("tiny"), "limits so small that tests meet each boundary"),
    Step("unit-tiny", "run", ["build-tiny"], unit_tests("tiny"), "unit tests at the limits"),
    Step("build-tsan", "build", [], build("tsan"), "thread sanitizer"),
    Step("unit-tsan", "run", ["build-tsan"], unit_tests("tsan"), "unit tests, thread sanitizer"),
    Step("build-fuzz", "build", [], build("fuzz"), "fuzzers (clang)"),
    Step("fuzz", "run", ["build-fuzz"], fuzz, "each fuzzer over its corpus, then some seconds alone"),
    Step("demo", "run", ["build-release", "e2e"],
         counted(["tools/run", "--check"], 600), "tools/run --check: real SDKs and a browser"),
]


def selected(names):
    """The named steps and what they need; all without a name."""
    if not names:
        return STEPS
    known = {s.name: s for s in STEPS}
    wanted = set()

    def add(name):
        if name not in wanted:
            wanted.add(name)
            for need in known[name].needs:
                if known[need].kind == "build" or need in names:
                    add(need)

    for name in names:
        if name not in known:
            sys.exit(f"no step {name}; there are: {' '.join(known)}")
        add(name)
    for step in STEPS:
        step.needs = [n for n in step.needs if n in wanted]
        step.after = [n for n in step.after if n in wanted]
    return [s for s in STEPS if s.name in wanted]


def run_step(step, options, done):
    started = time.monotonic()
    try:
        step.counts, step.output = step.action(options)
    except Exception as error:  # noqa: BLE001: a broken step is a failed step
        step.counts, step.output = (0, 1, 0), repr(error)
    step.seconds = time.monotonic() - started
    step.state = "failed" if step.counts[1] else "passed"
    with done:
        report(step)
        done.notify_all()


def report(step):
    counts = "" if step.kind == "build" and not step.counts[1] else \
        f"  {step.counts[0]} passed, {step.counts[1]} failed, {step.counts[2]} skipped."
    print(f"{step.state:7} {step.name:14} {step.seconds:6.1f} s{counts}", flush=True)
    if step.state == "failed":
        lines = step.output.splitlines()
        for line in lines[-OUTPUT_LINES:]:
            print(f"    {line[:600]}")
    else:
        for line in step.output.splitlines():
            if line.startswith("skip "):
                print(f"    {line}")


def main():
    parser = argparse.ArgumentParser(description="Builds and runs every test.")
    parser.add_argument("--long", action="store_true", help="the long form of crash tests and fuzzers")
    parser.add_argument("--list", action="store_true", help="name the steps")
    parser.add_argument("names", nargs="*", help="only these steps, and the builds they need")
    options = parser.parse_args()
    if options.list:
        for step in STEPS:
            print(f"{step.name:14} {step.about}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: (stop_everything(), os._exit(143)))
    steps = selected(options.names)
    started = time.monotonic()
    done = threading.Condition()
    by_name = {s.name: s for s in steps}
    try:
        with done:
            while any(s.state in ("waiting", "running") for s in steps):
                building = any(s.kind == "build" and s.state == "running" for s in steps)
                for step in steps:
                    if step.state != "waiting":
                        continue
                    needs = [by_name[n] for n in step.needs]
                    before = needs + [by_name[n] for n in step.after]
                    if any(n.kind == "build" and n.state in ("failed", "blocked") for n in needs):
                        step.state, step.counts = "blocked", (0, 0, 1)
                        print(f"blocked {step.name:14} its build failed", flush=True)
                    elif all(n.state in ("passed", "failed", "blocked") for n in before):
                        if step.kind == "build":
                            if building:
                                continue
                            building = True
                        step.state = "running"
                        threading.Thread(target=run_step, args=(step, options, done),
                                         daemon=True).start()
                if any(s.state == "running" for s in steps):
                    done.wait()
    except KeyboardInterrupt:
        stop_everything()
        print("interrupted")
        return 130
    total = [sum(s.counts[i] for s in steps) for i in range(3)]
    print(f"{time.monotonic() - started:.0f} s in all")
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())

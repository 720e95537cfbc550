#!/usr/bin/python3
"""Runs the unittest files of a folder in the order of their names: tests/run_unittest.py FOLDER […]

  --long           sets WEIR_LONG=1: tests that have a long form run it
  --only PATTERN   only tests whose name matches
  --stop           stop at the first failure (the files are ordered so that it is the most basic)

One line per test; ends with "N passed, N failed, N skipped".
"""
import argparse
import glob
import importlib.util
import os
import re
import sys
import time
import traceback
import unittest


class Lines(unittest.TestResult):
    """One line per test, the story of a failure right below it."""

    def __init__(self, stop):
        super().__init__()
        self.failfast = stop
        self.passed = 0

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()

    def line(self, verdict, test, extra=""):
        name = test.id().split(".", 1)[-1] if "." in test.id() else test.id()
        print(f"{verdict:4} {name} {time.monotonic() - getattr(self, '_started', time.monotonic()):.1f} s{extra}",
              flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self.line("ok", test)

    def tell(self, test, error):
        self.line("FAIL", test)
        text = "".join(traceback.format_exception(*error))
        print("    " + text.strip().replace("\n", "\n    "), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.tell(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.tell(subtest, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skip", test, f": {reason}")


def load(path):
    name = os.path.basename(path)[:-3]
    spec = importlib.util.spec_from_file_location(re.sub(r"^\d+_", "", name), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args()
    if options.long:
        os.environ["WEIR_LONG"] = "1"
    folder = os.path.abspath(options.folder)
    sys.path.insert(0, folder)
    files = sorted(p for p in glob.glob(os.path.join(folder, "*.py"))
                   if re.match(r"(\d\d_.*|.*_test)\.py$", os.path.basename(p)))
    result = Lines(options.stop)
    for path in files:
        if result.shouldStop:
            break
        suite = unittest.defaultTestLoader.loadTestsFromModule(load(path))
        tests = [t for group in suite for t in group
                 if not options.only or re.search(options.only, f"{os.path.basename(path)} {t.id()}")]
        unittest.TestSuite(tests).run(result)
    failed = len({str(t) for t, _ in result.failures + result.errors})
    print(f"{result.passed} passed, {failed} failed, {len(result.skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""kill -9 at random moments under load: every acknowledged event is delivered, and stored once."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios  # noqa: E402
from harness import LONG  # noqa: E402


class Kill(unittest.TestCase):
    def test_kill_rounds(self):
        print("    ", scenarios.kill_rounds(rounds=100 if LONG else 12, seconds=1.0))

    def test_kill_with_large_batches(self):
        scenarios.kill_rounds(rounds=30 if LONG else 3, seconds=1.5, seed=7, connections=4)

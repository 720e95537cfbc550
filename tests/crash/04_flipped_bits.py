"""One flipped bit in each kind of file: it starts, what is damaged is reported, the rest is served."""
import os
import random
import re
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios  # noqa: E402
from harness import LONG, event, eventually  # noqa: E402


def kind_of(name):
    """The kind of a file in the data directory, by its name."""
    if name in ("lock",):
        return None
    return re.sub(r"[0-9a-f]{6,}|\d+", "", name)


def used_bytes(path):
    """Places that hold something: a bit flipped in a hole says nothing."""
    with open(path, "rb") as f:
        data = f.read()
    return data, [at for at in range(0, len(data), 512) if any(data[at:at + 512])]


class FlippedBits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A data directory with sealed segments, sidecars, dead letters, a copied state."""
        cls.world = scenarios.World(settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        cls.addClassCleanup(cls.world.__exit__, None, None, None)
        weir, central = cls.world.weir, cls.world.central
        weir.start()
        central.fault(mode="poison", ids="^poison")
        cls.ids = []
        for i in range(30):
            events = [event(id=f"flip-{i}-{n}", p="x" * 600) for n in range(100)] + [event(id=f"poison-{i}")]
            assert weir.post(events).status == 200
            cls.ids += [e["id"] for e in events]
        eventually(lambda: weir.stats()["failed"] == 30 and weir.stats()["pending"] == 0, "all sent but poison")
        assert weir.stop() == 0
        cls.saved = tempfile.mkdtemp(prefix="weir-flip-")
        cls.addClassCleanup(shutil.rmtree, cls.saved, ignore_errors=True)
        shutil.copytree(weir.data, os.path.join(cls.saved, "data"))

    def test_every_kind_of_file_is_there(self):
        kinds = {kind_of(n) for n in os.listdir(self.world.weir.data)}
        for kind in ("seg", "state", "state.copy", "dead", "fp"):
            self.assertTrue(any(k and kind in k for k in kinds), f"no {kind} file: {kinds}")

    def flip(self, name, dice):
        weir = self.world.weir
        shutil.rmtree(weir.data, ignore_errors=True)
        shutil.copytree(os.path.join(self.saved, "data"), weir.data)
        path = os.path.join(weir.data, name)
        data, places = used_bytes(path)
        at = dice.choice(places[:4] if dice.random() < 0.4 else places) + dice.randrange(512)
        at = min(at, len(data) - 1)
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(bytes([data[at] ^ (1 << dice.randrange(8))]))
        return at

    def test_start_succeeds_damage_is_reported_the_rest_is_served(self):
        weir, central = self.world.weir, self.world.central
        dice = random.Random(5)
        names = {}
        for name in sorted(os.listdir(os.path.join(self.saved, "data"))):
            if kind_of(name) and os.path.isfile(os.path.join(self.saved, "data", name)):
                names.setdefault(kind_of(name), []).append(name)
        for kind, files in names.items():
            for round_number in range(40 if LONG else 5):
                name = dice.choice(files)
                at = self.flip(name, dice)
                with self.subTest(file=name, byte=at):
                    central.fault()
                    central.reset()
                    weir.destinations[0]["name"] = f"lane-{kind.strip('-.')}-{round_number}".replace(".", "-")
                    os.truncate(weir.log_path, 0)
                    weir.start(timeout=60)
                    try:
                        self.assertEqual(weir.post(event(id="after")).status, 200)
                        eventually(lambda: ("default", "after") in central.received, "a new event arrives", 30)
                        eventually(lambda: weir.stats()["destinations"][weir.destinations[0]["name"]]["pending"] == 0,
                                   "everything readable is sent", 30)
                        lost = scenarios.missing_at(central, self.ids)
                        if lost:
                            self.assertRegex(weir.log(), r"(?i)damaged|corrupt|checksum|set aside",
                                             f"{len(lost)} events lost without a word")
                            self.assertGreater(weir.metric("weir_damaged_files_total")
                                               + weir.metric("weir_damaged_records_total")
                                               + weir.metric("weir_store_segments", state="damaged"), 0)
                            self.assertLess(len(lost), len(self.ids), "one bit took everything")
                        if kind.startswith("seg"):
                            continue
                        self.assertEqual(len(lost), 0, "only segments hold events")
                    finally:
                        weir.kill()

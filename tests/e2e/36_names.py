"""Names that do not resolve, and a name server that never answers: the other destinations notice nothing."""
import os
import shutil
import socket
import subprocess
import time

import harness
from harness import destination, eventually, request
from sinks import SinkCase


class Names(SinkCase):
    def named(self, host, **more):
        """A destination of every kind that looks up a name."""
        quick = {"connect_timeout": "1s", **more}
        return [self.sink("http", type="http", url=f"http://{host}:9/in", **quick),
                self.sink("clickhouse", type="clickhouse", url=f"http://{host}:9/", **quick),
                self.sink("redis", type="redis", url=f"redis://{host}:9/", **quick),
                self.sink("postgresql", type="postgresql", url=f"postgresql://{host}:9/x", **quick),
                self.sink("kafka", type="kafka", url=f"kafka://{host}:9", request_timeout="2s")]

    def test_01_a_name_that_does_not_exist_is_waited_for(self):
        central = self.central()
        weir = self.weir(start=False, destinations=[*self.named("no-such-host.invalid"),
                                                    destination("good", central.port)])
        weir.start(env={"no_proxy": "*"})
        ids = self.send(weir, 20)
        self.assertArrives(central, ids)
        for name in ("http", "clickhouse", "redis", "postgresql", "kafka"):
            eventually(lambda: self.last_error(weir, name), f"{name} to fail")
            self.assertEqual((self.destination(weir, name)["pending"], self.destination(weir, name)["failed"]), (20, 0))
        self.complains(weir, "resolve", "http")

    def test_02_a_name_server_that_never_answers_delays_nobody_else(self):
        if os.geteuid() != 0 or not shutil.which("unshare"):
            self.skipTest("a name server of its own needs root and unshare")
        address = "127.53.0.9"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind((address, 53))  # takes every question, answers none
            resolv = os.path.join(self.directory, "resolv.conf")
            with open(resolv, "w", encoding="utf-8") as f:
                f.write(f"nameserver {address}\noptions timeout:5 attempts:{2 if harness.LONG else 1}\n")
            wrap = ("unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh")
            probe = subprocess.run([*wrap, "cat", "/etc/resolv.conf"], capture_output=True, text=True)
            if address not in probe.stdout:
                self.skipTest(f"no mount namespace can be made here: {probe.stderr.strip()}")
            central = self.central()
            weir = self.weir(start=False, destinations=[*self.named("slow.example"), destination("good", central.port)])
            weir.start(env={"no_proxy": "*"}, wrap=wrap)
            for _ in range(6):
                started = time.monotonic()
                self.assertArrives(central, self.send(weir, 20), timeout=10)
                self.assertLess(time.monotonic() - started, 4)  # a question to the name server takes longer
                time.sleep(0.5)
            self.assertEqual(self.destination(weir, "http")["pending"], 120)
            # Those that wait for the name server are taken out, one comes back with another address.
            kept = weir.destinations[-1]
            weir.destinations = [kept, destination("redis", central.port)]
            weir.write_config()
            self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b""), 200)
            started = time.monotonic()
            self.assertArrives(central, self.send(weir, 20), timeout=10)
            self.assertLess(time.monotonic() - started, 4)
            eventually(lambda: self.destination(weir, "redis")["sent"] == 140, "the one that came back")
            self.assertEqual(weir.stop(timeout=60), 0)

"""Load for the crash tests: many connections, unique ids plus duplicates, every answer written down.

An id counts as acknowledged when a complete 200 with Weir-Ack: committed said so. Whatever had no
answer is sent again later, as a client would: it may then be new or a duplicate.
"""
import http.client
import json
import random
import threading
import time


class Load:
    def __init__(self, weir, connections=16, seed=1, largest_batch=40, payload=200):
        self.weir = weir
        self.seed, self.largest, self.payload = seed, largest_batch, payload
        self.lock = threading.Lock()
        self.acknowledged = set()
        self.uncertain = set()          # sent, no answer
        self.refused = 0                # 503 and the like: not acknowledged, and said so
        self.wrong = []                 # answers that must not be
        self.answers = 0
        self._count = 0
        self._pause = threading.Event()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(i,), daemon=True)
                         for i in range(connections)]
        for thread in self._threads:
            thread.start()

    def pause(self):
        self._pause.set()

    def resume(self):
        self._pause.clear()

    def stop(self):
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _batch(self, dice):
        """Ids of one request: mostly new, some acknowledged or uncertain before."""
        ids = []
        with self.lock:
            for _ in range(dice.choice((1, 1, 1, dice.randint(1, self.largest)))):
                kind = dice.random()
                if kind < 0.08 and self.acknowledged:
                    ids.append(dice.choice(self._sample(self.acknowledged)))
                elif kind < 0.2 and self.uncertain:
                    ids.append(dice.choice(self._sample(self.uncertain)))
                else:
                    self._count += 1
                    ids.append(f"c{self.seed}-{self._count}")
        return ids

    @staticmethod
    def _sample(ids):
        found = []
        for one in ids:
            found.append(one)
            if len(found) >= 50:
                break
        return found

    def _client(self, number):
        dice = random.Random(self.seed * 1000 + number)
        connection = None
        while not self._end.is_set():
            if self._pause.is_set():
                time.sleep(0.01)
                continue
            ids = self._batch(dice)
            body = json.dumps([{"id": i, "name": "crash", "p": "x" * dice.randint(0, self.payload)} for i in ids])
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.weir.ingest, timeout=30)
                connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
                self._note(ids, answer, data)
                if answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException):
                with self.lock:
                    self.uncertain.update(set(ids) - self.acknowledged)
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.02)

    def _note(self, ids, answer, data):
        with self.lock:
            self.answers += 1
            if answer.status == 200:
                counts = json.loads(data)
                if answer.getheader("Weir-Ack") != "committed" or counts["rejected"] or \
                        counts["accepted"] + counts["duplicates"] != len(ids):
                    self.wrong.append((ids, data[:300]))
                self.acknowledged.update(ids)
                self.uncertain.difference_update(ids)
            elif answer.status == 503:
                self.refused += 1
                self.uncertain.update(set(ids) - self.acknowledged)
            else:
                self.wrong.append((ids, answer.status, data[:300]))
        if answer.status != 200:
            time.sleep(0.02)

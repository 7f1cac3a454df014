"""The service as its users see it: what the client process recorded."""
from records import now
from waiting import wait_until

TIMEOUT_SECONDS = 0.25


class Users:
    """Asks the client."""

    def __init__(self, client, directory, interval_ms):
        self.client, self.directory, self.interval = client, directory, interval_ms / 1000
        self.running = False

    def start(self, *targets):
        """Begins the open loop, at 198.51.100.10 unless told otherwise."""
        self.client.ask("start", directory=str(self.directory), targets=targets or ["198.51.100.10"], interval=self.interval)
        self.running = True

    def stop(self):
        if self.running:
            self.client.ask("stop")
            self.running = False

    def requests(self, since=0, target=None):
        """As in client.jsonl, by the time of sending."""
        found = sorted(self.client.ask("requests", since=since), key=lambda line: line["at"])
        return [line for line in found if target in (None, line["target"])]

    def settled(self):
        """Waits until what has been sent so far is answered or given up."""
        sent = now()
        wait_until("a client gets an answer", lambda: any(line["at"] + line["took"] > sent + TIMEOUT_SECONDS for line in self.requests(sent)))

    def lost(self, since=0, target=None):
        return [line for line in self.requests(since, target) if not line["server"]]

    def outage_ms(self, since=0, target=None):
        """The longest gap between answers served, less the interval of the loop."""
        served = sorted(line["at"] + line["took"] for line in self.requests(since, target) if line["server"])
        gaps = [after - before for before, after in zip(served, served[1:])]
        return max(max(gaps, default=float("inf")) - self.interval, 0) * 1000

    def served_by(self, node, since=None, target=None, within=45):
        """Waits until a request sent from `since` (now) on is answered by this node."""
        since = now() if since is None else since
        answered = lambda: any(line["server"] == str(node) for line in self.requests(since, target))  # noqa: E731
        wait_until(f"a client is served by {node}", answered, within)

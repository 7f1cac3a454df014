"""Time, and files of one JSON object a line: what the lab writes and the judge reads."""
import json
import time


def now():
    """Seconds of CLOCK_BOOTTIME: the clock of every `at`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def both_clocks():
    """Read together, so that the journals' wall time can be mapped."""
    return {"boottime": now(), "realtime": time.time()}


class Lines:
    """A file that grows by whole lines."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8")

    def write(self, **fields):
        self.file.write(json.dumps(fields) + "\n")

    def close(self):
        self.file.close()


def read_lines(path):
    """Every whole line; one that is still being written is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text.split("\n")[:-1] if line]

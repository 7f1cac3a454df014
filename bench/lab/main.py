"""vipward and keepalived under the same faults, in the same lab: real Nginx, real LocalStack, the same client.

    main.py [--runs N] [--json]        called by `bench/run --lab`

A client opens a new connection every 5 ms; its outage is the longest gap between answers served, less 5 ms. Of it, the cloud's part is the
time from the arrival of the call that moved the address until its answer, at the gateway before LocalStack: shown, and subtracted.
"""
import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/lab"))

import keepalived  # noqa: E402
from configuration import Settings  # noqa: E402
from lab import Lab  # noqa: E402
from records import now  # noqa: E402
from waiting import Unmet, demand, wait_until  # noqa: E402
from world import World  # noqa: E402

FAULTS = {
    "crash": ("crash (`kill -9` of the host's processes)", lambda host: host.die()),
    "silent": ("silent death (the host stands still)", lambda host: host.freeze()),
    "stop": ("stop (SIGTERM to the daemon)", lambda host: host.stop()),
}
ADDRESS = "198.51.100.10"


@dataclass(frozen=True)
class Rival:
    """One daemon at one interval."""

    name: str
    interval_ms: int

    @property
    def title(self):
        return f"{self.name}, {self.interval_ms} ms"

    def start(self, lab):
        """Both balancers serve, one leads and holds the address. Returns the leader."""
        if self.name == "vipward":
            return lab.start()[0]
        keepalived.install(lab, self.interval_ms / 1000)
        for host in lab.balancers:
            host.start()
        wait_until("keepalived's hook has moved the address", lambda: lab.cloud.holder(ADDRESS) is not None)
        lab.users.start(ADDRESS)
        leader = lab[lab.cloud.holder(ADDRESS)]
        lab.users.served_by(leader)
        wait_until("the other one hears it", lambda: settled(lab, self))
        return leader


def settled(lab, rival):
    """Several adverts have passed without another move."""
    moves = lab.cloud.changes()
    return moves[-1]["answered"] + rival.interval_ms / 1000 * 4 + 0.5 < now()


VIPWARD_DEFAULT, KEEPALIVED_DEFAULT = Rival("vipward", 200), Rival("keepalived", 1000)
RIVALS = (VIPWARD_DEFAULT, KEEPALIVED_DEFAULT, Rival("keepalived", 200), Rival("vipward", 1000))


class Trial:
    """Stands in the place of a scenario."""

    def __init__(self, rival, fault):
        self.rival, self.fault = rival, fault
        self.number, self.title = 0, f"{rival.title}: {fault}"
        self.settings = Settings(heartbeat_ms=rival.interval_ms, call_timeout_ms=5000)


def measure(world, trial, directory):
    """One run: the outage, and the cloud's part of it, in milliseconds."""
    directory.mkdir()
    lab = Lab(world, trial, directory)
    try:
        leader = trial.rival.start(lab)
        heir = next(host for host in lab.balancers if host is not leader)
        since = now()
        FAULTS[trial.fault][1](leader)
        wait_until(f"the address comes to {heir}", lambda: lab.cloud.holder(ADDRESS) == heir.name)
        lab.users.served_by(heir)
        lab.users.settled()
        call = lab.cloud.changes(node=heir.name, since=since)[0]
        outage = lab.users.outage_ms(since - 0.5)
        demand(outage < 60_000, "the outage was not seen whole")
        return outage, (call["answered"] - call["arrived"]) * 1000
    finally:
        lab.end()


def spread(values):
    return {"median": round(statistics.median(values), 1), "max": round(max(values), 1)}


def measure_all(world, runs, directory):
    """Rivals take turns, so that a busy minute of the machine is shared fairly."""
    results = {rival: {fault: [] for fault in FAULTS} for rival in RIVALS}
    for run in range(runs):
        for fault in FAULTS:
            for rival in RIVALS:
                trial = Trial(rival, fault)
                try:
                    found = measure(world, trial, directory / f"{run + 1}-{fault}-{rival.name}-{rival.interval_ms}")
                except Unmet as unmet:
                    print(f"   {trial.title}: run {run + 1} failed: {unmet}", file=sys.stderr)
                    found = None
                results[rival][fault].append(found)
                if found:
                    print(f"   {run + 1} of {runs}: {trial.title}: {found[0]:.0f} ms, the cloud's part {found[1]:.0f} ms", file=sys.stderr)
    return results


def report(results, runs):
    document = {"runs": runs, "keepalived": keepalived.version(), "rivals": []}
    for rival, faults in results.items():
        entry = {"name": rival.name, "interval_ms": rival.interval_ms}
        for fault, found in faults.items():
            good = [pair for pair in found if pair]
            entry[fault] = {"failed": len(found) - len(good)}
            if good:
                own = [max(outage - cloud, 0.0) for outage, cloud in good]
                entry[fault] |= {"outage_ms": spread([o for o, _ in good]), "cloud_ms": spread([c for _, c in good]), "own_ms": spread(own)}
        document["rivals"].append(entry)
    return document


def table(document):
    """Medians; a ratio is keepalived's outage through vipward's."""
    by = {(entry["name"], entry["interval_ms"]): entry for entry in document["rivals"]}
    lines = [
        f"{document['runs']} runs of each; medians in milliseconds; {document['keepalived']}", "",
        "| fault | daemon, interval | client outage | worst | the cloud's part | the daemon's own |", "| --- | --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for fault, (title, _) in FAULTS.items():
        for rival in RIVALS:
            found = by[rival.name, rival.interval_ms][fault]
            if "outage_ms" not in found:
                lines.append(f"| {title} | {rival.title} | never moved | | | |")
                continue
            outage, cloud, own = found["outage_ms"], found["cloud_ms"], found["own_ms"]
            failed = f" ({found['failed']} runs failed)" if found["failed"] else ""
            lines.append(f"| {title} | {rival.title}{failed} | {outage['median']} | {outage['max']} | {cloud['median']} | {own['median']} |")
    lines += ["", "| keepalived's outage is longer than vipward's by | both at their defaults (1 s, 200 ms) | both at 200 ms | both at 1 s |", "| --- | ---: | ---: | ---: |"]
    pairs = ((1000, 200), (200, 200), (1000, 1000))
    for fault, (title, _) in FAULTS.items():
        ratios = [ratio(by["keepalived", theirs][fault], by["vipward", ours][fault]) for theirs, ours in pairs]
        lines.append(f"| {title} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def ratio(theirs, ours):
    if "outage_ms" not in theirs or "outage_ms" not in ours:
        return "–"
    return f"{theirs['outage_ms']['median'] / max(ours['outage_ms']['median'], 0.1):.1f} ×"


def main():
    parser = argparse.ArgumentParser(prog="bench/run --lab")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vipward-bench-") as directory:
        world = World(Path(directory))
        try:
            results = measure_all(world, arguments.runs, Path(directory))
        finally:
            world.end()
    document = report(results, arguments.runs)
    print(json.dumps(document) if arguments.json else table(document))
    return 0 if all(found for faults in results.values() for runs in faults.values() for found in runs) else 1


if __name__ == "__main__":
    sys.exit(main())

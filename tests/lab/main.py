"""Runs the scenarios, inside the namespaces that `tests/lab/run` has made.

    main.py [NUMBER|WORD...] [--repeat N]
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import traceback

from helper import HelperDied
from lab import Lab
from processor import prefer
from scenarios import all_scenarios
from waiting import Unmet
from world import REPOSITORY, World

try:
    from judge import judge
except ImportError:
    judge = None

LAB_FAILED = (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, subprocess.SubprocessError, HelperDied, RuntimeError)


def chosen(scenarios, words):
    """Those whose number is one of the words or whose title contains one."""
    fits = lambda s: not words or any(word == str(s.number) or (not word.isdigit() and word in s.title) for word in words)  # noqa: E731
    return [scenario for scenario in scenarios if fits(scenario)]


def fresh(directory):
    """Kept after the run, so that a failure can be looked into."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def attempt(action):
    """What it made, or why it failed."""
    try:
        return action(), None
    except Unmet as unmet:
        return None, str(unmet)
    except LAB_FAILED as error:
        traceback.print_exc(file=sys.stdout)
        return None, repr(error)


def run(world, scenario, directory):
    """One scenario from its clean cluster to the judge's verdict: its account, and every reason why it failed."""
    lab, failure = attempt(lambda: Lab(world, scenario, directory))
    if failure:
        return "", [f"no cluster: {failure}"]
    account, failure = attempt(lambda: scenario.action(lab))
    if not failure and scenario.settings.judged:
        _, failure = attempt(lab.settle)
    told, unfinished = attempt(lab.end)
    failures = [reason for reason in (failure, unfinished) if reason]
    failures += [f"the gateway: {trouble}" for trouble in (told or {}).get("troubles", [])]
    if judge and scenario.settings.judged and not unfinished:
        findings, broken = attempt(lambda: judge(directory))
        failures += [f"the judge: {finding}" for finding in findings or []] + ([f"the judge: {broken}"] if broken else [])
    own = (told or {}).get("own_ms", {}).get("median")
    shown = account if isinstance(account, str) else ""
    return " ".join(filter(None, (shown, own and f"[gateway {own} ms]"))), failures


def folder(scenario):
    words = re.sub(r"[^a-z0-9]+", "-", scenario.title.lower()).strip("-")[:50].strip("-")
    number = f"{scenario.number:02}" if isinstance(scenario.number, int) else scenario.number
    return f"{number}-{words}"


def main():
    parser = argparse.ArgumentParser(prog="tests/lab/run")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--directory", default=REPOSITORY / "target/test-logs/lab")
    arguments = parser.parse_args()
    scenarios = all_scenarios()
    wanted = chosen(scenarios, arguments.words)
    if not wanted:
        sys.exit("no scenario is called so; there are:\n" + "\n".join(f"  {scenario.number} {scenario.title}" for scenario in scenarios))
    prefer(os.getpid())
    root = fresh(REPOSITORY.__class__(arguments.directory))
    began = time.monotonic()
    world, failure = attempt(lambda: World(root))
    if failure:
        print(f"   FAILED: the lab comes up: {failure}\n0 passed, 1 failed, {len(wanted)} skipped")
        return 1
    print(f"   the lab is up ({time.monotonic() - began:.1f} s){'' if judge else '; there is no judge'}")
    verdicts = []
    for turn in range(arguments.repeat):
        for scenario in wanted:
            verdicts.append(report(world, scenario, root / (folder(scenario) + (f"-{turn + 1}" if turn else ""))))
    world.end()
    passed, failed = verdicts.count(True), verdicts.count(False)
    if failed:
        print(f"   records, logs, journals and configurations: {root}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def report(world, scenario, directory):
    """Runs it and prints its verdict."""
    directory.mkdir()
    began = time.monotonic()
    account, failures = run(world, scenario, directory)
    title = f"{scenario.number} {scenario.title} ({time.monotonic() - began:.1f} s)"
    if not failures:
        print(f"   ok: {title}{': ' + account if account else ''}")
    for failure in failures:
        print(f"   FAILED: {title}: {failure}")
    return not failures


if __name__ == "__main__":
    sys.exit(main())

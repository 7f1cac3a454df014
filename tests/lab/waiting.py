"""Waiting for conditions, and saying what did not come true."""
import time

# Generous on purpose: a deadline is for a machine that is busy with other things, a condition for one that works.
DEADLINE_SECONDS = 45
POLL_SECONDS = 0.02


class Unmet(Exception):
    """A condition that did not come true: the scenario fails."""


def demand(condition, sentence):
    if not condition:
        raise Unmet(sentence)


def wait_until(what, condition, within=DEADLINE_SECONDS):
    """Returns what `condition` returns as soon as that is true; the reasons it gives for "not yet" (as `Unmet`) go into the failure."""
    deadline = time.monotonic() + within
    reason = ""
    while True:
        try:
            if found := condition():
                return found
            reason = ""
        except Unmet as unmet:
            reason = f": {unmet}"
        if time.monotonic() >= deadline:
            raise Unmet(f"{what}: not within {within} s{reason}")
        time.sleep(POLL_SECONDS)


def hold_for(seconds, what, condition):
    """Checks that `condition` stays true all the time: the only way to see that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        demand(condition(), f"{what}: not for {seconds} s")
        time.sleep(POLL_SECONDS)

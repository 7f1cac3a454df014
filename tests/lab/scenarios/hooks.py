"""Scenario 30: the operator's hooks and alarms."""
import os
import tempfile
from pathlib import Path

from lab import demand, wait_until
from records import now
from scenarios import scenario

TOLD = Path(tempfile.gettempdir()) / f"vipward-lab-hooks-{os.getpid()}"
TELL = '["/bin/sh", "-c", "echo $VIPWARD_NODE $VIPWARD_GROUP $VIPWARD_ROLE $VIPWARD_TERM $VIPWARD_CAUSE $VIPWARD_ALARM >>%s"]' % TOLD
HOOKS = f"""
[hooks]
on_master = [{TELL}, ["/bin/sleep", "3"], ["/bin/false"]]
on_backup = [{TELL}]
on_alarm = [{TELL}]
"""


def told(*words):
    """Whether a hook was told just this."""
    return any(line.split() == [str(word) for word in words] for line in TOLD.read_text(encoding="utf-8").splitlines())


@scenario(30, "hooks are told, and nothing waits for them", extra=HOOKS)
def hooks(lab):
    # Given hooks that tell what they are told, one that takes its time and one that fails,
    TOLD.write_text("", encoding="utf-8")
    master, standby = lab.start()
    # when the master's host dies,
    since = now()
    master.die()
    # then the address moves without waiting for a hook,
    account = lab.moved(to=standby, since=since, cause="master-crashed")
    lab.outage_below(lab.detection_ms, since)
    # the new master's hooks are told, one after another, and the journal tells how each ended;
    term = standby.elections_won(since)[-1]["term"]
    wait_until("the hooks are told", lambda: told(standby.name, "web", "master", term, "master-crashed"))
    ended = lambda: [event["outcome"] for event in standby.journal("hook-finished", since=since, hook="on_master")]  # noqa: E731
    wait_until("the journal tells how the hooks ended", lambda: ended() == ["ok", "ok", "failed"], within=10)
    # an alarm runs its hook;
    wait_until("the alarm's hook is told", lambda: told(standby.name, "redundancy-lost"))
    # and the dead one, when it is back, is told that it is a backup.
    master.start()
    lab.healthy()
    wait_until("the old master's hook is told", lambda: any(line.startswith(f"{master.name} web backup") for line in TOLD.read_text().splitlines()))
    demand("AWS_SECRET" not in TOLD.read_text(encoding="utf-8"), "no secret")
    TOLD.unlink()
    return account

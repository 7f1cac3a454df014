"""Scenario 19: the disk of a node's state directory. No failover waits for it."""
import contextlib
import re
import subprocess

from lab import demand, wait_until
from records import now
from scenarios import scenario


@scenario(19, "state directory full: failover works, lost lines are counted")
def full(lab):
    # Given balancers with disks of their own,
    master, standby = start_with_disks(lab)
    # when that fills up and then the master's host dies, then the standby has the address after one call, and there is an alarm;
    standby.tell("disk", what="full")
    filler = fill(standby.state)
    account = fails_over_without_a_disk(lab, master, standby)
    # and when there is room again, the alarm ends, and the journal names exactly the lines that it lost.
    filler.unlink()
    standby.tell("disk", on=False)
    lost = recovers(lab, standby)
    demand(lost, "nothing was lost: the disk was not full")
    lab.expect(converges=False)  # For the judge: the lines that tell who was elected are among the lost ones.
    return f"{account}; {lost} lines lost and counted"


@scenario(19, "state directory read-only: failover works, lost lines are counted", metadata=True)
def read_only(lab):
    # Given balancers with disks of their own,
    master, standby = start_with_disks(lab)
    # when that becomes read-only and then the master's host dies, then the standby has the address after one call, and there is an alarm;
    standby.tell("disk", what="read-only")
    filler = close_its_journal(lab, standby)
    remount(standby, "ro")
    account = fails_over_without_a_disk(lab, master, standby)
    # and when the disk can be written again, the alarm ends, and the journal names exactly the lines that it lost.
    remount(standby, "rw")
    filler.unlink()
    standby.tell("disk", on=False)
    lost = recovers(lab, standby)
    demand(lost, "nothing was lost: the disk was not read-only")
    lab.expect(converges=False)  # As above.
    return f"{account}; {lost} lines lost and counted"


@scenario(19, "state directory slow by seconds: failover does not wait for it", metadata=True)
def slow(lab):
    # Given nodes with disks of their own,
    master, standby = start_with_disks(lab)
    slow_ones = [standby, lab.witness]
    with contextlib.ExitStack() as frozen:
        # when those of standby and witness answer no write any more and then the master's host dies,
        for node in slow_ones:
            frozen.enter_context(hung(node))
        # then the standby has the address after one call, and says when a write has taken too long;
        account = fails_over_without_a_disk(lab, master, standby)
    # and when the disks answer, the alarm ends, and the journals have every line.
    for node in slow_ones:
        demand(recovers(lab, node) == 0, f"{node} lost lines although its disk was only slow")
    return account


def start_with_disks(lab):
    for node in lab:
        own_disk(node)
    return lab.start()


def fails_over_without_a_disk(lab, master, standby):
    """The master's host dies; judged without the standby's journal, which cannot be written."""
    dead = now()
    master.die()
    wait_until("the address comes to the standby", lambda: lab.cloud.holder() == standby.name)
    lab.users.served_by(standby)
    lab.outage_below(3 * lab.detection_ms, since=dead - 1)
    demand(len(lab.cloud.attempts(since=dead)) == 1, f"calls that change something: {lab.cloud.attempts(since=dead)}")
    wait_until("there is an alarm", lambda: "state-not-writable" in standby.alarms() and standby.metric('vipward_alarm{name="state-not-writable"}'))
    told = wait_until("the standby's status tells of it", lambda: told_by(standby))
    demand(told["cause"] == "master-crashed", f"the standby's status tells of {told}")
    lab.expect(moves={"web": [1, 1]}, master={"web": standby.name})
    return f"outage {lab.users.outage_ms(since=dead - 1):.0f} ms"


def told_by(standby):
    told = standby.status()["last_failover"]
    demand(told and told["to"] == standby.name, f"it tells of {told}")
    return told


def recovers(lab, node):
    """The alarm ends, in the status and the journal. Returns how many lines the journal says are lost, which are those that only the log has."""
    wait_until("the alarm ends", lambda: "state-not-writable" not in node.alarms())
    wait_until("the journal is written again", lambda: node.journal("alarm-cleared", name="state-not-writable"))
    lab.harmless_from_now()
    lab.unmoved(since=now(), seconds=1)
    lost = lost_numbers(node.journal())
    logged = {int(number) for number in re.findall(r" seq=(\d+)", (node.directory / "log").read_text(encoding="utf-8"))}
    written = {line["seq"] for line in node.journal() if line["event"] != "journal-gap"}
    demand(lost == logged - written, f"the gaps of {node}'s journal name {sorted(lost)}; only the log has {sorted(logged - written)}")
    return len(lost)


def lost_numbers(lines):
    """What the gaps name. A gap has the number of the last line that it stands for."""
    gaps = (line for line in lines if line["event"] == "journal-gap")
    return {number for gap in gaps for number in range(gap["seq"] - gap["lost"] + 1, gap["seq"] + 1)}


def own_disk(node):
    """With blocks so small that a full one has no room for a line or two more. Seen by this run of the lab alone, and gone with it."""
    image = node.directory / "disk"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", image], check=True)
    subprocess.run(["mount", "-o", "loop,noatime", image, node.state], check=True)


def remount(node, how):
    mounted = lambda: subprocess.run(["mount", "-o", f"remount,{how}", node.state], capture_output=True, check=False).returncode == 0  # noqa: E731
    wait_until(f"the disk of {node} becomes {how}", mounted)


def close_its_journal(lab, node):
    """By a full disk: it is then opened anew for each line. Linux makes no disk read-only on which a file is open for writing."""
    filler = fill(node.state)
    up = lambda: all(link["up"] for peer in node.status()["peers"] for link in peer["links"])  # noqa: E731

    def one_more_line_fails():
        # Some lines still fit into the journal's last block.
        node.cut_from(lab.witness, 1)
        wait_until("the link is down", lambda: not up())
        node.heal()
        wait_until("the link is up again", up)
        return "cannot be written" in (node.directory / "log").read_text(encoding="utf-8")

    wait_until(f"{node} cannot write its journal", one_more_line_fails)
    return filler


def fill(directory):
    """To the last byte."""
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return filler


@contextlib.contextmanager
def hung(node):
    """Writes to its disk wait; reads do not."""
    node.tell("disk", what="hung")
    subprocess.run(["fsfreeze", "--freeze", node.state], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", node.state], check=True)
        node.tell("disk", on=False)

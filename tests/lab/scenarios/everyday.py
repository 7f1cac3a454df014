"""What happens without any fault: an operator checks, a repaired machine comes back, all is stopped and started in order."""
import subprocess

from host import CLEAN
from lab import demand, wait_until
from records import now
from scenarios import scenario


@scenario("daily", "check --cloud finds nothing wrong beside healthy daemons", metadata=True)
def check(lab):
    # Given a healthy cluster,
    master, _ = lab.start()
    since = now()
    # when an operator checks each node beside its daemon,
    for node in lab:
        command = ["ip", "netns", "exec", node.name, str(lab.world.binary), "check", "--config", str(node.config), "--cloud"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**CLEAN, **node.daemon.environment})
        # then it passes: links, credentials and the exact calls;
        demand(answer.returncode == 0, f"{node}: check exited with {answer.returncode}: {answer.stderr.strip()}")
    # and checking changed nothing.
    lab.unmoved(since, interrupted_ms=100)
    lab.stays_with(master)


@scenario("daily", "a repaired node of higher priority comes back: nothing moves")
def comes_back(lab):
    # Given a cluster whose master of the higher priority died,
    master, standby = lab.start()
    demand(master.name == "lb-a", f"{master} leads, though lb-a has the higher priority")
    died = now()
    master.die()
    account = lab.moved(to=standby, since=died, cause="master-crashed")
    # when it comes back,
    back = now()
    master.start()
    lab.harmless_from_now()
    # then it is a backup, and nothing moves without preemption.
    demand(lab.healthy()[0] is standby, f"{master} took the group back")
    lab.unmoved(since=back, interrupted_ms=100)
    return account


@scenario("daily", "all daemons stopped in order and started: nothing moves", metadata=True)
def orderly_restart(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    since = now()
    # when all daemons are stopped, the master last, so that nobody is left to hand over to,
    for node in (standby, lab.witness, master):
        code = node.stop()
        demand(code == 0, f"{node} exited with {code} on SIGTERM")
    # then the address stays where it is while nobody runs, and its Nginx serves on;
    lab.unmoved(since, seconds=1, interrupted_ms=100)
    # and after the start as well.
    for node in lab:
        node.start()
    lab.harmless_from_now()
    wait_until("all run again", lambda: all(node.running() for node in lab))
    demand(lab.healthy()[0] is master, "another leads after the restart")
    lab.unmoved(since, interrupted_ms=100)
    lab.stays_with(master)

"""The end-to-end scenarios on LocalStack: the elastic IP moves when it must, once, to the right instance, and never otherwise.

Run by `tests/lab/run` in namespaces of its own. The scenarios share one cluster and run in this order; each begins with a healthy one.
"""
import os
import signal
import subprocess
import sys
import time
import traceback

from harness import BALANCERS, BINARY, GROUP, Cluster, Unmet, demand, fresh_directory, hold_for, vipward, wait_until

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
os.environ.update(AWS_CONFIG_FILE="/nonexistent", AWS_SHARED_CREDENTIALS_FILE="/nonexistent")
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"):
    os.environ.pop(name, None)

# Well beyond the master-down interval (3 x 200 ms and the skew): a move that is to come has come by then.
QUIET_SECONDS = 3


def three_daemons_elect_and_claim_once(cluster):
    # Given an address that is associated with nobody,
    demand(cluster.cloud.association() == (None, None), "the address is associated before any daemon ran")
    # when three daemons start,
    cluster.start()
    # then they agree on one master, whose instance holds the address after one call,
    master, standby = cluster.healthy()
    demand(cluster.cloud.changes() == 1, f"{cluster.cloud.changes()} calls changed the association instead of 1")
    # and the journals tell the same.
    demand(len(master.claims()) == 1 and not standby.claims(), "the journals do not show one claim, by the master")
    demand(master.elections_won()[-1]["cause"] == "startup", f"cause: {master.elections_won()[-1]['cause']}")
    return f"{master.name} leads"


def check_finds_nothing_wrong(cluster):
    # Given a healthy cluster, when an operator checks each node beside its daemon,
    cluster.healthy()
    for node in cluster:
        answer = vipward("check", "--config", node.config, "--cloud")
        # then it passes: links, credentials and the exact calls.
        demand(answer.returncode == 0, f"{node.name}: check exited with {answer.returncode}: {answer.stderr.strip()}")


def a_killed_master_is_succeeded(cluster):
    # Given a healthy cluster,
    master, standby = cluster.healthy()
    before = cluster.cloud.changes()
    # when the master's process is killed,
    master.kill()
    # then the standby leads and has the address,
    moved_to(cluster, standby, before)
    # and its journal tells why, from the evidence of refused connections.
    return explained(standby, "master-crashed", old=master)


def a_returning_node_moves_nothing(cluster):
    # Given a cluster whose former master is dead,
    dead = next(cluster[name] for name in BALANCERS if not cluster[name].running())
    before = cluster.cloud.association(), cluster.cloud.changes()
    # when it comes back,
    cluster.start()
    master, _ = cluster.healthy()
    demand(master is not dead, f"{dead.name} took the group back without preemption")
    # then nothing moves, whatever its priority.
    unmoved(cluster, before)


def switchover_there_and_back(cluster):
    # Given a healthy cluster,
    first, second = cluster.healthy()
    # when an operator asks the witness to hand the group to the standby, then it leads after one call,
    before = cluster.cloud.changes()
    succeed(cluster["witness"].command("switchover", GROUP, "--to", second.name))
    moved_to(cluster, second, before)
    there = explained(second, "switchover", old=first)
    # and when an operator asks the new master to hand it to whoever is best, the first leads again.
    cluster.healthy()
    before = cluster.cloud.changes()
    succeed(second.command("switchover", GROUP))
    moved_to(cluster, first, before)
    return f"there: {there}; back: {explained(first, 'switchover', old=second)}"


def a_switchover_to_a_witness_is_refused(cluster):
    # Given a healthy cluster,
    master, _ = cluster.healthy()
    before = cluster.cloud.association(), cluster.cloud.changes()
    # when an operator asks for what cannot be, then it is refused with exit code 1 and a reason, and nothing moves.
    for successor in ("witness", "nobody"):
        answer = master.command("switchover", GROUP, "--to", successor)
        demand(answer.returncode == 1 and answer.stderr.strip(), f"--to {successor}: exit code {answer.returncode}, {answer.stderr!r}")
    demand((cluster.cloud.association(), cluster.cloud.changes()) == before, "the refused switchover moved something")


def a_power_cut_moves_nothing(cluster):
    # Given a cluster that is led by the node of the lower priority, so that a restart could tempt the other,
    if cluster.healthy()[0].name != "lb-b":
        succeed(cluster["lb-b"].command("switchover", GROUP, "--to", "lb-b"))
        cluster.healthy()
    before = cluster.cloud.association(), cluster.cloud.changes()
    # when all three die at once and start at once,
    for node in cluster:
        node.send(signal.SIGKILL)
    for node in cluster:
        node.process.wait()
    cluster.start()
    # then the holder leads again, and the address never moved.
    master, _ = cluster.healthy()
    demand(master.name == before[0][1], f"{master.name} leads, the address was at {before[0][1]}")
    unmoved(cluster, before)


def an_orderly_restart_of_all_moves_nothing(cluster):
    # Given a healthy cluster,
    master, standby = cluster.healthy()
    before = cluster.cloud.association(), cluster.cloud.changes()
    # when all are stopped, the master last so that nobody is left to hand over to,
    for node in (standby, cluster["witness"], master):
        code = node.stop()
        demand(code == 0, f"{node.name} exited with {code} on SIGTERM")
    # then the address stays where it is while nobody runs,
    demand(cluster.cloud.association() == before[0], "stopping the daemons dropped the address")
    # and after the start as well.
    cluster.start()
    cluster.healthy()
    unmoved(cluster, before)


def a_silent_master_is_succeeded(cluster):
    # Given a healthy cluster,
    master, standby = cluster.healthy()
    before = cluster.cloud.changes()
    claims = len(master.claims())
    # when the master freezes (its kernel still accepts connections),
    master.send(signal.SIGSTOP)
    try:
        # then the standby leads after the master-down interval and has the address;
        moved_to(cluster, standby, before)
        account = explained(standby, "master-silent", old=master)
    finally:
        # and when the frozen one goes on where it stood,
        master.send(signal.SIGCONT)
    leader, _ = cluster.healthy()
    demand(leader is standby, f"{leader.name} leads after the thaw")
    # then it makes no call: its lease is over.
    unmoved(cluster, (cluster.cloud.association(), before + 1))
    demand(len(master.claims()) == claims, f"{master.name} claimed the address after the thaw")
    return account


def every_claim_is_explained(cluster):
    # Given all that happened so far, when the journals are compared with LocalStack's request log,
    cluster.healthy()
    claims = [(node, claim) for name in BALANCERS for node in [cluster[name]] for claim in node.claims()]
    # then they agree on how often the association changed,
    changes = cluster.cloud.changes()
    demand(len(claims) == changes, f"the journals tell of {len(claims)} claims, LocalStack of {changes}")
    # each claim has a request id of its own and an election of its term with a cause before it,
    ids = {claim["request_id"] for _, claim in claims}
    demand(len(ids) == len(claims), "two claims share a request id")
    for node, claim in claims:
        won = [event for event in node.elections_won() if event["term"] == claim["term"] and event["seq"] < claim["seq"]]
        demand(won and won[-1].get("cause"), f"{node.name}: no election with a cause before the claim {claim}")
    # and no term was won twice.
    terms = [event["term"] for name in BALANCERS for event in cluster[name].elections_won()]
    demand(len(terms) == len(set(terms)), f"a term was won twice: {sorted(terms)}")
    return f"{changes} claims in {len(terms)} terms"


def no_daemon_complained(cluster):
    # Given all that happened, then every daemon still runs and none of them panicked.
    for node in cluster:
        demand(node.running(), f"{node.name} does not run")
        demand("panicked" not in node.log.read_text(errors="replace"), f"{node.name} panicked; see {node.log}")


# --- what several scenarios ask -------------------------------------------------------------------------------------------------------------


def moved_to(cluster, node, before):
    """The address comes to `node`, and one call brought it there."""
    wait_until(f"the address comes to {node.name}", lambda: cluster.cloud.holder() == node.name)
    wait_until(f"{node.name} owns the address", lambda: all(a["ownership"] == "owned" for a in node.group()["addresses"]))
    changes = cluster.cloud.changes() - before
    demand(changes == 1, f"{changes} calls changed the association instead of 1")


def unmoved(cluster, before):
    association, changes = before
    hold_for(QUIET_SECONDS, f"the address stays at {association[1]}", lambda: cluster.cloud.association() == association)
    demand(cluster.cloud.changes() == changes, f"{cluster.cloud.changes() - changes} needless calls changed the association")


def explained(node, cause, old):
    """The journal of `node` and its status name the cause; returns the takeover's account."""
    told = node.elections_won()[-1]
    demand(told["cause"] == cause, f"the journal says {told['cause']!r}, not {cause!r}")
    wanted = (GROUP, old.name, node.name, cause, told["term"])
    failover = wait_until(f"{node.name} gives its account of term {told['term']}", lambda: account_of(node, told["term"]))
    given = tuple(failover[key] for key in ("group", "from", "to", "cause", "term"))
    demand(given == wanted, f"last_failover says {given}, not {wanted}")
    stages = ("detect_ms", "elect_ms", "claim_ms", "verify_ms")
    return ", ".join(f"{stage[:-3]} {failover[stage]:.0f} ms" for stage in stages if failover[stage] is not None)


def account_of(node, term):
    """The status's last failover, once it is that of `term`: a takeover is told when it is verified, and until then the one before."""
    failover = node.status()["last_failover"]
    demand(failover and failover["term"] == term, f"it tells of {failover}")
    return failover


def succeed(answer):
    demand(answer.returncode == 0, f"{' '.join(map(str, answer.args))} exited with {answer.returncode}: {answer.stderr.strip()}")


# --- the run --------------------------------------------------------------------------------------------------------------------------------

SCENARIOS = (
    three_daemons_elect_and_claim_once,
    check_finds_nothing_wrong,
    a_killed_master_is_succeeded,
    a_returning_node_moves_nothing,
    switchover_there_and_back,
    a_switchover_to_a_witness_is_refused,
    a_power_cut_moves_nothing,
    an_orderly_restart_of_all_moves_nothing,
    a_silent_master_is_succeeded,
    every_claim_is_explained,
    no_daemon_complained,
)


def attempt(title, action):
    """Does one thing, prints its verdict, and returns what it made and whether it passed."""
    started = time.monotonic()
    try:
        made = action()
    except Unmet as unmet:
        print(f"   FAILED: {title}: {unmet}")
        return None, False
    except (OSError, KeyError, IndexError, ValueError, subprocess.SubprocessError) as error:
        print(f"   FAILED: {title}: {error!r}")
        traceback.print_exc(file=sys.stdout)
        return None, False
    account = f": {made}" if isinstance(made, str) else ""
    print(f"   ok: {title} ({time.monotonic() - started:.1f} s){account}")
    return made, True


def attempt_all(scenarios, cluster):
    """Runs the scenarios in order and returns their verdicts: fewer of them when the cluster never came up."""
    verdicts = []
    for title, scenario in scenarios.items():
        _, passed = attempt(title, lambda: scenario(cluster))
        verdicts.append(passed)
        if not passed:
            cluster.recover()
        if not any(verdicts):
            print("   the rest is left out: the cluster never came up")
            break
    return verdicts


def main(words):
    if not BINARY.is_file():
        sys.exit(f"{BINARY} does not exist: cargo build --release")
    titles = {scenario.__name__.replace("_", " "): scenario for scenario in SCENARIOS}
    chosen = {title: titles[title] for title in titles if not words or any(word in title for word in words)}
    if not chosen:
        sys.exit("no scenario is called so; there are:\n  " + "\n  ".join(titles))
    directory = fresh_directory()
    verdicts = [False]
    cluster, _ = attempt("LocalStack comes up with its resources", lambda: Cluster(directory))
    if cluster:
        if SCENARIOS[0] not in chosen.values():
            cluster.start()  # The first scenario does it itself.
        verdicts = attempt_all(chosen, cluster)
        cluster.end()
    passed, failed = verdicts.count(True), verdicts.count(False)
    if failed:
        print(f"   the daemons' logs, journals and configurations: {directory}")
    print(f"{passed} passed, {failed} failed, {len(chosen) - len(verdicts)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

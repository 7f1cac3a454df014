"""Scenarios 1 to 8: a start, and each way in which a master can be lost."""
from configuration import FATAL_NGINX
from lab import demand, wait_until
from records import now
from scenarios import scenario


@scenario(1, "start: exactly one association", metadata=True)
def start(lab):
    # Given an address that nobody holds,
    demand(lab.cloud.holder() is None, "the address is held before any daemon ran")
    # when three hosts start,
    master, standby = lab.start()
    # then they agree on one master, and one call gave it the address;
    changes = lab.cloud.changes()
    demand([c["operation"] for c in changes] == ["AssociateAddress"], f"calls that changed something: {changes}")
    demand(len(master.claims()) == 1 and not standby.claims(), "the journals do not tell of one claim, by the master")
    demand(master.elections_won()[-1]["cause"] == "startup", f"cause: {master.elections_won()[-1]}")
    # and so it stays.
    lab.unmoved(since=now(), interrupted_ms=50)
    lab.stays_with(master)
    return f"{master} leads"


@scenario(2, "master's host dies")
def host_dies(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's host dies, daemon and Nginx,
    dead = now()
    master.die()
    # then refused connections tell, and the standby has the address after one call.
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.outage_below(lab.detection_ms, since=dead - 1)
    return account


@scenario(3, "master's links cut", metadata=True)
def links_cut(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master loses all its links,
    cut = now()
    master.cut()
    # then its silence tells, and the standby has the address after one call;
    account = lab.moved(to=standby, since=cut, cause="master-silent")
    lab.outage_below(3 * lab.detection_ms, since=cut - 1)
    # and when the links are back, the old master follows and makes no call.
    healed = now()
    master.heal()
    lab.harmless_from_now()
    follows(lab, master, standby)
    lab.unmoved(since=healed, interrupted_ms=100)
    makes_no_call(lab, master, since=cut)
    return account


@scenario(4, "one of two links cut: nothing moves")
def one_link_cut(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    since = now()
    for link in (1, 0):
        # when the master's peers cannot be reached over one link any more,
        for peer in (standby, lab.witness):
            master.cut_from(peer, link)
        # then the link is shown as down on both sides, and nothing moves;
        for node, peer in ((master, standby), (standby, master)):
            wait_until(f"{node} shows link {link} to {peer} as down", lambda n=node, p=peer, i=link: links_up(n, p) == [i != 0, i != 1])
        lab.unmoved(since, interrupted_ms=100)
        # and when it is back, all is well.
        master.heal()
        lab.healthy()
    lab.stays_with(master)
    demand(len(master.journal("link-down", since=since, peer=standby.name)) == 2, f"{master}: the journal does not tell of two links lost")


@scenario(5, "one-way cut: the master's calls to the standby are lost: nothing moves", metadata=True)
def master_cannot_call_standby(lab):
    master, standby = lab.start()
    one_way_cut_moves_nothing(lab, master, standby)


@scenario(5, "one-way cut: the standby's calls to the master are lost: nothing moves")
def standby_cannot_call_master(lab):
    master, standby = lab.start()
    one_way_cut_moves_nothing(lab, standby, master)


def one_way_cut_moves_nothing(lab, caller, called):
    # Given a cluster that serves, when one balancer's requests to the other are lost on every link,
    cut = now()
    caller.cut_calls_to(called)
    # then nothing moves: a majority still answers the master,
    lab.unmoved(cut, interrupted_ms=100)
    lost = [f'vipward_heartbeats_lost_total{{link="{link}",peer="{called}"}}' for link in (0, 1)]
    demand(all(caller.metric(line) for line in lost), f"{caller} counts no lost heartbeat: it was not cut off")
    # and nothing moves when it heals.
    caller.heal()
    master, _ = lab.healthy()
    lab.unmoved(cut, interrupted_ms=100)
    lab.stays_with(master)


@scenario(5, "one-way cut: all of the master's calls are lost: moved once")
def master_cannot_call(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when none of the master's requests reach a peer any more, though theirs reach it,
    cut = now()
    for peer in (standby, lab.witness):
        master.cut_calls_to(peer)
    # then nobody renews its lease, and the standby has the address after one call;
    account = lab.moved(to=standby, since=cut, cause="master-silent")
    # and when it can call again, it follows and makes no call.
    master.heal()
    lab.harmless_from_now()
    follows(lab, master, standby)
    lab.unmoved(since=now(), interrupted_ms=100)
    makes_no_call(lab, master, since=cut)
    return account


@scenario(6, "master frozen past its lease, then thawed: makes no call, steps down", metadata=True)
def frozen(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's host stands still (its kernel still accepts connections),
    frozen_at = now()
    master.freeze()
    # then its silence tells, and the standby has the address after one call;
    account = lab.moved(to=standby, since=frozen_at, cause="master-silent")
    lab.outage_below(3 * lab.detection_ms, since=frozen_at - 1)
    # and when it goes on where it stood, it steps down and makes no call.
    thawed = now()
    master.thaw()
    lab.harmless_from_now()
    follows(lab, master, standby)
    lab.unmoved(since=thawed, interrupted_ms=100)
    makes_no_call(lab, master, since=frozen_at)
    left = master.journal("role-changed", since=thawed, **{"from": "master"})
    demand(left, f"{master}: the journal does not tell that it stepped down after the thaw")
    return account


@scenario(7, "SIGTERM: handed over, outage far below detection")
def sigterm(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's daemon is told to stop,
    told = now()
    code = master.stop()
    # then it hands over before it ends: users notice next to nothing.
    demand(code == 0, f"{master} exited with {code} on SIGTERM")
    account = lab.moved(to=standby, since=told, cause="resigned")
    lab.outage_below(lab.detection_ms / 3, since=told - 1)
    return account


@scenario(8, "Nginx stopped on the master: resigns without waiting", metadata=True, checks=(FATAL_NGINX,))
def nginx_stopped(lab):
    # Given a cluster that serves and watches its Nginx,
    master, standby = lab.start()
    # when the master's Nginx dies and its daemon lives on,
    stopped = now()
    master.stop_nginx()
    # then the check says so, the master resigns at once, and the standby has the address after one call,
    account = lab.moved(to=standby, since=stopped, cause="check-failed")
    failed = master.journal("check-changed", since=stopped)
    demand(failed and failed[0]["state"] == "failing", f"{master}: the journal does not tell that the check failed: {failed}")
    # whose claim came sooner after the check's verdict than a silent master would have been given up.
    waited_ms = (lab.cloud.changes(since=stopped)[0]["arrived"] - failed[0]["boottime"]) * 1000
    demand(waited_ms < lab.detection_ms / 2, f"it took {waited_ms:.0f} ms from the check's verdict to the claim")
    # And when Nginx is back, nothing moves.
    healed = now()
    master.start_nginx()
    lab.harmless_from_now()
    lab.healthy()
    lab.unmoved(since=healed, interrupted_ms=100)
    return f"{account}; {waited_ms:.0f} ms after the check's verdict"


def links_up(node, peer):
    """What a node shows of its links to a peer."""
    return [link["up"] for shown in node.status()["peers"] if shown["name"] == peer.name for link in shown["links"]]


def follows(lab, old, master):
    """The old master knows the new one and is a backup."""
    shown = wait_until(f"{old} follows {master}", lambda: old.group()["master"] == master.name and old.group())
    wait_until(f"{old} is a backup", lambda: old.group()["role"] == "backup")
    demand(lab.healthy()[0] is master, f"{old} leads again: {shown}")


def makes_no_call(lab, node, since):
    made = lab.cloud.attempts(node=node.name, since=since)
    demand(not made, f"{node} made calls that change something: {made}")

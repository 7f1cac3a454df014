"""Scenarios 1 to 8: a start, and each way in which a master can be lost."""
from lab import demand
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

"""Scenarios 26 to 29: addresses that the kernel has too."""
import sys

from configuration import Group
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario
from topology import run

VIP = "10.0.1.50"
SECONDARY = (Group("web", addresses=(VIP,)),)


def in_kernel(node, address=VIP):
    """Whether the kernel of a node's machine has the address."""
    return f"inet {address}/" in run("ip", "-n", node.name, "-4", "addr", "show", "dev", "eth0")


def neighbour_mac(address=VIP):
    """Whom a machine on the same wire would send the address's packets to."""
    return next((line.split()[4] for line in run("ip", "-n", "witness", "neigh", "show", address).splitlines() if "lladdr" in line), None)


@scenario(26, "a secondary address moves in the cloud and in the kernel", groups=SECONDARY)
def secondary_moves(lab):
    # Given a cluster that serves a secondary address, of which a neighbour on the wire knows the MAC,
    master, standby = lab.start()
    demand(in_kernel(master) and not in_kernel(standby), "the master's kernel alone has the address")
    run("ip", "netns", "exec", "witness", sys.executable, "-c", f"import socket; socket.create_connection(('{VIP}', 80), 2)")
    demand(neighbour_mac() == lab.world.nodes[master.name]["mac"], "the neighbour knows the master's MAC")
    # when its master's host dies,
    since = now()
    master.die()
    # then the address moves, served by the other's kernel, and the neighbour has been told without asking.
    account = lab.moved(to=standby, since=since, cause="master-crashed")
    demand(in_kernel(standby), "the new master's kernel has the address")
    wait_until("the neighbour is told the new MAC", lambda: neighbour_mac() == lab.world.nodes[standby.name]["mac"], within=5)
    # And when the dead one comes back, its kernel, which still had the address, lets it go.
    demand(in_kernel(master), "a killed daemon leaves the address in its kernel")
    master.start()
    lab.healthy()
    wait_until("the old master's kernel lets go", lambda: not in_kernel(master))
    demand(in_kernel(standby), "the master's kernel keeps the address")
    return account


@scenario(27, "a frozen master's kernel lets go when it thaws; what something else removes is put back", groups=SECONDARY, metadata=True)
def kernel_follows(lab):
    # Given a cluster that serves a secondary address,
    master, standby = lab.start()
    # when something else removes it from the kernel, as networkd does,
    lab.expect(lost_requests_allowed=None)
    run("ip", "-n", master.name, "addr", "del", f"{VIP}/32", "dev", "eth0")
    # then it is put back at once, without a call to the cloud, and told;
    wait_until("the address is put back", lambda: in_kernel(master), within=2)
    wait_until("the journal tells", lambda: master.journal("kernel-changed", kernel="absent"))
    demand(len(lab.cloud.changes()) == 1, "no call is made for it")
    # and when the master freezes past its lease and thaws,
    since = now()
    master.freeze()
    account = lab.moved(to=standby, since=since, cause="master-silent")
    demand(in_kernel(master), "a frozen machine cannot let go")
    master.thaw()
    # then its kernel lets go, and it makes no call.
    wait_until("the old master's kernel lets go", lambda: not in_kernel(master))
    lab.healthy()
    demand(not lab.cloud.attempts(node=master.name, since=since), "the thawed node makes no call")
    demand(in_kernel(standby), "the new master's kernel keeps it")
    return account


@scenario(28, "a handover and a stop leave the address in one kernel", groups=SECONDARY, claim="fenced")
def secondary_handed_over(lab):
    # Given a cluster that serves a secondary address with fenced claims,
    master, standby = lab.start()
    # when it is handed over,
    since = now()
    asked = master.command("switchover", "web", "--to", standby.name)
    demand(asked.returncode == 0, asked.stderr)
    # then it is unassigned and assigned, and one kernel has it;
    lab.moved(to=standby, since=since, cause="switchover", changes=2)
    wait_until("the old master's kernel lets go", lambda: not in_kernel(master))
    demand(in_kernel(standby), "the new master's kernel has it")
    # and when the new master's daemon is stopped, the other one's again, and not the stopped one's.
    lab.healthy()
    since = now()
    demand(standby.stop() == 0, "it stops with exit code 0")
    account = lab.moved(to=master, since=since, cause="resigned", changes=2)
    demand(in_kernel(master) and not in_kernel(standby), "the kernel of a stopped daemon has let go")
    lab.expect(moves={"web": [2, 2]})
    return account


@scenario(29, "an elastic IP on a secondary private address of each node", metadata=True,
          groups=(Group("web", private_ip={"lb-a": "10.0.1.20", "lb-b": "10.0.1.21"}),))  # fmt: skip
def private_ip(lab):
    # Given secondary private addresses at both interfaces, which no kernel has,
    for node, address in (("lb-a", "10.0.1.20"), ("lb-b", "10.0.1.21")):
        lab.cloud.assign(node, address)
        demand(not in_kernel(lab[node], address), "the kernel does not have it yet")
    # when the cluster starts, then each kernel has its own, and the elastic IP is served on the master's;
    master, standby = lab.start()
    wait_until("each kernel has its node's own", lambda: in_kernel(lab["lb-a"], "10.0.1.20") and in_kernel(lab["lb-b"], "10.0.1.21"))
    # and when the master dies, on the other's.
    since = now()
    master.die()
    account = lab.moved(to=standby, since=since, cause="master-crashed")
    hold_for(0.3, "the standby's kernel keeps its own", lambda: in_kernel(standby, "10.0.1.21" if standby.name == "lb-b" else "10.0.1.20"))
    return account

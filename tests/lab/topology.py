"""The lab's machines and cables: network namespaces, two bridges, and the ways in which packets are lost.

    client 192.0.2.2 --- fabric (the VPC's router) --- link 0: 10.0.1.0/24 --- lb-a .10, lb-b .11, witness .12, api .13
                                                       link 1: 10.0.9.0/24 --- lb-a .10, lb-b .11, witness .12

The two links share nothing. Everything else of the members goes over link 0: clients, the EC2 API.
"""
import subprocess

NUMBERS = {"lb-a": 10, "lb-b": 11, "witness": 12, "api": 13}
MEMBERS = ("lb-a", "lb-b", "witness")
API = "10.0.1.13"
CLIENT = "192.0.2.2"
LINK_NETWORKS = ("10.0.1", "10.0.9")
METADATA = "169.254.169.254"


def link_address(node, link):
    return f"{LINK_NETWORKS[link]}.{NUMBERS[node]}"


def run(*command, text=None):
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}\n{text or ''}")
    return done.stdout


def nft(namespace, text):
    run("ip", "netns", "exec", namespace, "nft", "-f", "-", text=text)


def set_sysctls(namespace, **values):
    run("ip", "netns", "exec", namespace, "sysctl", "-qw", *(f"{name.replace('__', '/')}={value}" for name, value in values.items()))


def build():
    """Makes all namespaces and links."""
    spaces = ("fabric", "sw0", "sw1", "client", *NUMBERS)
    run("ip", "-batch", "-", text="".join(f"netns add {space}\n" for space in spaces))
    for space in spaces:
        set_sysctls(space, net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        run("ip", "-n", space, "link", "set", "lo", "up")
    for link in (0, 1):
        run("ip", "-n", f"sw{link}", "-batch", "-", text="link add br0 type bridge forward_delay 0 stp_state 0\nlink set br0 up\n")
    for node in NUMBERS:
        plug(node, 0, "eth0")
        if node in MEMBERS:
            plug(node, 1, "eth1")
        run("ip", "-n", node, "route", "add", "default", "via", f"{LINK_NETWORKS[0]}.1")
    connect("fabric", "vpc", "sw0", "fabric")
    run("ip", "-n", "sw0", "link", "set", "fabric", "master", "br0")
    connect("fabric", "world", "client", "eth0")
    addresses = f"addr add {LINK_NETWORKS[0]}.1/24 dev vpc\naddr add 192.0.2.1/24 dev world\n"
    run("ip", "-n", "fabric", "-batch", "-", text=addresses)
    run("ip", "-n", "client", "-batch", "-", text=f"addr add {CLIENT}/24 dev eth0\nroute add default via 192.0.2.1\n")
    set_sysctls("fabric", net__ipv4__ip_forward=1, net__ipv4__conf__all__send_redirects=0, net__ipv4__conf__vpc__send_redirects=0)
    for node in ("lb-a", "lb-b"):
        run("ip", "-n", node, "addr", "add", f"{METADATA}/32", "dev", "lo")


def connect(space, name, other_space, other_name):
    run("ip", "link", "add", name, "netns", space, "type", "veth", "peer", "name", other_name, "netns", other_space)
    run("ip", "-n", space, "link", "set", name, "up")
    run("ip", "-n", other_space, "link", "set", other_name, "up")


def plug(node, link, name):
    connect(node, name, f"sw{link}", node)
    run("ip", "-n", f"sw{link}", "link", "set", node, "master", "br0")
    run("ip", "-n", node, "addr", "add", f"{link_address(node, link)}/24", "dev", name)


def set_mac(node, mac):
    """Gives the node's first interface the MAC that the cloud knows."""
    run("ip", "-n", node, "link", "set", "eth0", "address", mac)


class Filter:
    """What one namespace drops or refuses, as nft rules that are replaced as a whole."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.rules = {}

    def add(self, key, *, into=(), out=()):
        self.rules[key] = (tuple(into), tuple(out))
        self.apply()

    def remove(self, key):
        if self.rules.pop(key, None) is not None:
            self.apply()

    def clear(self):
        if self.rules:
            self.rules.clear()
            self.apply()

    def apply(self):
        chains = ""
        for index, hook in enumerate(("input", "output")):
            lines = "".join(f"    {rule}\n" for rules in self.rules.values() for rule in rules[index])
            chains += f"  chain {hook} {{\n    type filter hook {hook} priority 0;\n{lines}  }}\n"
        nft(self.namespace, f"table inet lab\ndelete table inet lab\ntable inet lab {{\n{chains}}}\n")

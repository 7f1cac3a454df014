"""The VPC's data plane: who gets the packets for an elastic IP or a secondary private address.

An elastic IP is translated one to one to the private address of its association; without one its packets are lost. A secondary
private address is routed to its interface's primary address, so that they are served only if the kernel there has the address.
Changes go through one long-lived `nft -i` and one `ip -batch -`: a fraction of a millisecond, where a new process takes twenty.
"""
import subprocess

NAMESPACE = "fabric"
PUBLIC = "198.51.100.0/24"
CLIENTS = "192.0.2.0/24"
# Packet by packet, as the VPC does it: a translation that was remembered would lead a client that uses a port again to the holder of before.
SETUP = f"""\
table ip vpc {{
  map holders {{ type ipv4_addr : ipv4_addr; }}
  map publics {{ type ipv4_addr : ipv4_addr; }}
  chain inward {{
    type filter hook prerouting priority raw;
    ip daddr {CLIENTS} notrack
    ip daddr {PUBLIC} notrack ip daddr set ip daddr map @holders accept
    ip daddr {PUBLIC} drop
  }}
  chain outward {{
    type filter hook postrouting priority srcnat;
    ip daddr {CLIENTS} ip saddr set ip saddr map @publics
  }}
}}
"""


class FabricError(Exception):
    """A change that the kernel refused."""


class Pipe:
    """A program that carries out a command a line, and answers `echo` when all before is done."""

    def __init__(self, command, echo, expected):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", NAMESPACE, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        self.echo, self.expected = f"{echo}\n".encode(), expected.encode()

    def do(self, line):
        self.process.stdin.write(line.encode() + b"\n" + self.echo)
        said = b""
        while self.expected not in said:
            part = self.process.stdout.read(65536)
            if not part:
                raise FabricError(f"ended after {line!r}: {said.decode()}")
            said += part
        if b"rror" in said or b"RTNETLINK" in said or b"ommand failed" in said:
            raise FabricError(f"{line!r}: {said.decode()}")


class Fabric:
    """What the fabric has in force, changed by differences."""

    def __init__(self):
        subprocess.run(["ip", "netns", "exec", NAMESPACE, "nft", "-f", "-"], input=SETUP, text=True, check=True)
        self.nft = Pipe(["nft", "-i"], "list tables ip", "table ip vpc")
        self.ip = Pipe(["ip", "-o", "-force", "-batch", "-"], "link show dev lo", "LOOPBACK")
        self.elastic = {}
        self.routes = {}

    def show(self, elastic, routes):
        """Makes it so: `elastic` maps public to private addresses, `routes` secondary to primary ones."""
        lost, won = differences("holders", self.elastic, elastic)
        unnamed, named = differences("publics", reverse(self.elastic), reverse(elastic))
        if changes := lost + unnamed + won + named:
            self.nft.do("; ".join(changes))
        self.elastic = dict(elastic)
        for secondary in self.routes.keys() | routes.keys():
            old, new = self.routes.get(secondary), routes.get(secondary)
            if new and new != old:
                self.ip.do(f"route replace {secondary}/32 via {new}")
            elif old and not new:
                self.ip.do(f"route del {secondary}/32")
        self.routes = dict(routes)


def differences(name, old, new):
    """What to take out of an nft map, and what to put in."""
    lost = [f"delete element ip vpc {name} {{ {key} }}" for key in old if old[key] != new.get(key)]
    return lost, [f"add element ip vpc {name} {{ {key} : {value} }}" for key, value in new.items() if old.get(key) != value]


def reverse(elastic):
    return {private: public for public, private in elastic.items()}

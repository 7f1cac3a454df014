"""What the cloud would say of every address, followed call by call; and read anew when it cannot be followed.

Calls that change something go to LocalStack one at a time, so that their order is known, and its answer tells all: the data plane follows
in less than a millisecond, without asking LocalStack again. `read` is the truth; the gateway compares after each change.
"""
import xml.etree.ElementTree as ElementTree


class Elastic:
    """One elastic IP."""

    def __init__(self, public, association=None, interface=None, private=None):
        self.public, self.association, self.interface, self.private = public, association, interface, private

    def held(self):
        return self.association, self.interface, self.private

    def release(self):
        self.association = self.interface = self.private = None


class Vpc:
    """Elastic IPs by allocation id; each interface's private addresses, the primary one first."""

    def __init__(self, names):
        self.names = names
        self.elastic = {}
        self.interfaces = {}
        self.instances = {}
        self.associations = {}

    def name(self, interface):
        return self.names.get(interface, interface)

    def read(self, addresses, interfaces):
        """Takes over the answers of DescribeAddresses and DescribeNetworkInterfaces; true if that was nothing new."""
        before = self.snapshot()
        # LocalStack forgets with which private address an association was made.
        bound = {found.association: found.private for found in self.elastic.values()}
        self.elastic.clear()
        self.interfaces.clear()
        for item in items(interfaces, "networkInterfaceSet"):
            private = [(p.findtext("primary") != "true", p.findtext("privateIpAddress")) for p in item.findall("./privateIpAddressesSet/item")]
            interface = item.findtext("networkInterfaceId")
            self.interfaces[interface] = [address for _, address in sorted(private, key=lambda pair: pair[0])]
            if instance := item.findtext("./attachment/instanceId"):
                self.instances.setdefault(instance, interface)
        for item in items(addresses, "addressesSet"):
            interface = item.findtext("networkInterfaceId") or self.instances.get(item.findtext("instanceId") or "")
            found = Elastic(item.findtext("publicIp"))
            if association := item.findtext("associationId"):
                private = bound.get(association) or item.findtext("privateIpAddress") or self.primary(interface)
                found = Elastic(found.public, association, interface, private)
                self.associations[association] = item.findtext("allocationId")
            self.elastic[item.findtext("allocationId")] = found
        return self.snapshot() == before

    def primary(self, interface):
        return (self.interfaces.get(interface) or [None])[0]

    def follow(self, query, body_text):
        """Takes over a successful call; false if it is one that must be read."""
        follow = {
            "AssociateAddress": self.associated,
            "DisassociateAddress": self.disassociated,
            "AssignPrivateIpAddresses": self.assigned,
            "UnassignPrivateIpAddresses": self.unassigned,
        }.get(query.operation)
        return bool(follow and follow(query, body_text))

    def associated(self, query, text):
        found = self.elastic.get(query.get("AllocationId"))
        interface = query.get("NetworkInterfaceId") or self.instances.get(query.get("InstanceId"))
        if found is None or interface not in self.interfaces:
            return False
        found.association, found.interface = text("associationId"), interface
        found.private = query.get("PrivateIpAddress") or self.primary(interface)
        self.associations[found.association] = query.get("AllocationId")
        return True

    def disassociated(self, query, _):
        for found in self.elastic.values():
            if found.association == query.get("AssociationId"):
                found.release()
                return True
        return False

    def assigned(self, query, _):
        mine = self.interfaces.get(query.get("NetworkInterfaceId"))
        addresses = query.listed("PrivateIpAddress")
        if mine is None or not addresses:
            return False
        for address in addresses:
            for theirs in self.interfaces.values():
                if address in theirs[1:]:
                    theirs.remove(address)
            if address not in mine:
                mine.append(address)
        return True

    def unassigned(self, query, _):
        mine = self.interfaces.get(query.get("NetworkInterfaceId"))
        if mine is None:
            return False
        for address in query.listed("PrivateIpAddress"):
            if address in mine[1:]:
                mine.remove(address)
        return True

    def snapshot(self):
        elastic = {allocation: found.held() for allocation, found in self.elastic.items()}
        return elastic, {interface: sorted(private) for interface, private in self.interfaces.items()}

    def holders(self):
        """Who holds each elastic IP and each secondary private address, by name."""
        found = {allocation: elastic.interface and self.name(elastic.interface) for allocation, elastic in self.elastic.items()}
        for interface, private in self.interfaces.items():
            found.update({address: self.name(interface) for address in private[1:]})
        return found

    def elastic_routes(self):
        return {found.public: found.private for found in self.elastic.values() if found.private}

    def secondary_routes(self):
        return {address: private[0] for private in self.interfaces.values() for address in private[1:]}

    def metadata(self):
        """What each interface's instance metadata shows."""
        public = {interface: [] for interface in self.interfaces}
        for found in self.elastic.values():
            if found.interface in public:
                public[found.interface].append(found.public)
        return {i: {"local-ipv4s": private, "public-ipv4s": public[i]} for i, private in self.interfaces.items()}


def items(body, name):
    root = ElementTree.fromstring(body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root.findall(f"./{name}/item")

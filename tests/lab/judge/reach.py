"""Who could reach whom, by what the lab did: nobody can renew the lease of a node that no majority hears."""
import math

LINKS = 2  # The lab gives every member two.


class Reach:
    """Asked by node and time. What the lab does not tell of is assumed to work, so that nobody is accused by mistake."""

    def __init__(self, scenario, faults, processes):
        self.scenario, self.processes = scenario, processes or []
        self.suffered = {node: faults.suffered(node) for node in scenario.members}
        self.known = {}

    def starved(self, node):
        """From when to when fewer than a majority could answer the node: its heartbeats, or the answers, were lost, or nobody was there."""
        if node not in self.known:
            self.known[node] = self._spans(lambda at: 1 + len(self.answering(node, at)) < self.scenario.quorum)
        return self.known[node]

    def unheard(self, node):
        """From when to when no peer could hear the node."""
        return self._spans(lambda at: not self.answering(node, at))

    def answering(self, node, at):
        """The peers that could answer a heartbeat of the node."""
        peers = (peer for peer in self.scenario.members if peer != node)
        return [peer for peer in peers if self.awake(peer, at) and any(self.passes(node, peer, link, at) for link in range(LINKS))]

    def awake(self, node, at):
        frozen = any(fault.kind == "freeze" for fault in self._in_force(node, at))
        rows = [row for row in self.processes if row["node"] == node and row["at"] <= at]
        return not frozen and (not rows or rows[-1]["what"] == "started")

    def passes(self, node, peer, link, at):
        mine = any(fault.kind in ("cut", "one-way") and covers(fault, peer, link) for fault in self._in_force(node, at))
        theirs = any(fault.kind == "cut" and covers(fault, node, link) for fault in self._in_force(peer, at))
        return not mine and not theirs

    def _in_force(self, node, at):
        return [fault for fault in self.suffered[node] if fault.since <= at < fault.until]

    def _spans(self, condition):
        """The spans in which a condition is true; it can only change when something is done to somebody."""
        moments = {row["at"] for row in self.processes}
        for faults in self.suffered.values():
            moments |= {fault.since for fault in faults} | {fault.until for fault in faults}
        moments = sorted(moment for moment in moments if moment < math.inf)
        spans = []
        for since, until in zip(moments, [*moments[1:], math.inf]):
            if not condition(since):
                continue
            if spans and spans[-1][1] == since:
                spans[-1] = (spans[-1][0], until)
            else:
                spans.append((since, until))
        return spans


def covers(fault, peer, link):
    """Whether a cut includes this path: what it does not name, it includes. Those from the API concern no peer."""
    named = fault.detail.get("peer", fault.detail.get("to", peer))
    return named == peer and fault.detail.get("link", link) == link


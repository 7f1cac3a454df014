"""The only EC2 endpoint that the nodes know: it records every request, harms some, and passes the others to LocalStack unchanged.

    gateway.py        runs in the namespace `api`, asked by `helper.Helper`

Calls that change something are passed on one at a time, and the data plane (`fabric.py`) follows before they are answered.
"""
import asyncio
import json
import os
import socket
import sys
import traceback
import urllib.parse
from pathlib import Path

import ec2_query
import gateway_faults
import http1
from ec2_query import Query
from fabric import Fabric
from helper import serve_orders
from records import Lines, now
from topology import API, MEMBERS, link_address
from vpc import Vpc

PORT = 4566
LOCALSTACK = ("127.0.0.1", PORT)
NODES = {link_address(node, 0): node for node in MEMBERS}
IDLE_SECONDS = 20  # LocalStack closes connections that are idle for longer.
OPERATOR = "operator"


class Upstream:
    """Kept-alive connections to LocalStack."""

    def __init__(self):
        self.idle = []

    async def ask(self, raw):
        """One exchange, over a connection that is known to be good."""
        while self.idle:
            reader, writer, since = self.idle.pop()
            if now() - since < IDLE_SECONDS and not reader.at_eof():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection(*LOCALSTACK, limit=http1.LONGEST_HEAD)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(raw)
        message = await http1.read_message(reader)
        if message is None:
            writer.close()
            raise ConnectionError("LocalStack closed the connection without an answer")
        if message.closes:
            writer.close()
        else:
            self.idle.append((reader, writer, now()))
        return message


class Gateway:
    """Records and faults."""

    def __init__(self, metadata_file):
        self.metadata_file = Path(metadata_file)
        self.fabric = Fabric()
        self.upstream = Upstream()
        self.faults = gateway_faults.Faults()
        self.vpc = Vpc({})
        self.one_at_a_time = asyncio.Lock()
        self.calls = []
        self.holders = None
        self.holder = {}
        self.mine = set()
        self.own_seconds = []
        self.tasks = set()
        self.troubles = []
        self.reads = {}  # For stale reads: a read's key to its request, and the answers with their times.

    # --- a request ------------------------------------------------------------------------------

    async def serve(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = writer.get_extra_info("peername")[0]
        node = NODES.get(peer, peer)
        try:
            while request := await http1.read_message(reader):
                raw = await self.answer(node, request, reader)
                if raw is None:
                    break
                writer.write(raw)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception:  # noqa: BLE001  A fault of the lab's own must not look like one of the cloud's.
            self.troubles.append(traceback.format_exc())
            traceback.print_exc()
        finally:
            writer.close()

    async def answer(self, node, request, reader):
        """The bytes to answer with; None when the caller gets no answer, as soon as it is gone."""
        arrived = now()
        query = Query(request)
        call = self.record(arrived, node, query)
        latency, fault = self.faults.met(node, query)
        call["fault"] = fault["kind"] if fault else "latency" if latency else None
        if latency:
            await asyncio.sleep(latency)
        kind = fault["kind"] if fault else None
        if kind in ("5xx", "throttled", "denied"):
            raw, call["status"], call["code"], call["request_id"] = gateway_faults.refusal(fault)
        elif kind in ("late", "lost"):
            self.later(fault.get("seconds", 0), self.pass_on(request, query, call))
            raw = None
        elif kind == "black-hole":
            raw = None
        elif kind == "stale":
            raw = await self.stale(request, query, call, fault["seconds"])
        else:
            raw = await self.pass_on(request, query, call)
        if raw is None:
            await reader.read(1)
            return None
        call["answered"] = now()
        if not latency and call["landed"]:
            self.own_seconds.append(call["answered"] - arrived - call.pop("at_localstack"))
        return raw

    def record(self, arrived, node, query):
        association = query.get("AssociationId")
        listed = query.listed("AllocationId") or query.listed("PrivateIpAddress")
        address = query.get("AllocationId") or self.vpc.associations.get(association) or (listed[0] if listed else None)
        call = {
            "arrived": arrived, "passed": None, "landed": None, "answered": None, "node": node, "operation": query.operation,
            "dry_run": query.dry_run, "address": address, "to": query.get("NetworkInterfaceId"),
            "reassociate": first(query.flag("AllowReassociation"), query.flag("AllowReassignment")), "association": association,
            "status": None, "code": None, "request_id": None, "fault": None,
        }  # fmt: skip
        self.calls.append(call)
        return call

    async def pass_on(self, request, query, call):
        """To LocalStack and back; the data plane follows a change before the answer leaves."""
        if not query.may_change:
            call["passed"] = now()
            answer = await self.upstream.ask(request.raw)
            call["at_localstack"] = now() - call["passed"]
        else:
            async with self.one_at_a_time:
                await self.before_a_change()
                call["passed"] = now()
                answer = await self.upstream.ask(request.raw)
                call["at_localstack"] = now() - call["passed"]
                if answer.status == 200:
                    await self.changed(query, answer, call)
        call["landed"] = now()
        call["status"], call["request_id"] = answer.status, ec2_query.request_id(answer)
        if answer.status != 200:
            call["code"] = ec2_query.text_of(answer.body, "Code")
        elif query.operation == "AssociateAddress":
            call["association"] = ec2_query.text_of(answer.body, "associationId")
        elif query.operation.startswith("Describe") and not query.dry_run:
            self.reads.setdefault(query.key, (request, []))[1].append((call["passed"], answer))
            del self.reads[query.key][1][:-50]
        return answer.raw

    async def changed(self, query, answer, call):
        followed = self.vpc.follow(query, lambda tag: ec2_query.text_of(answer.body, tag))
        if not followed:
            await self.read_truth()
        self.show(call["node"], ec2_query.request_id(answer))
        self.later(0, self.verify())

    def show(self, by, request_id):
        """Makes the fabric, the record and the metadata follow the VPC."""
        self.fabric.show(self.vpc.elastic_routes(), self.vpc.secondary_routes())
        at, holder = now(), self.vpc.holders()
        for address in sorted(self.holder.keys() | holder.keys()):
            if self.holder.get(address) != holder.get(address) and self.holders:
                self.holders.write(at=at, address=address, holder=holder.get(address), by=by, request_id=request_id)
        self.holder = holder
        self.later(0, self.write_metadata())

    async def write_metadata(self):
        part = self.metadata_file.with_suffix(".part")
        part.write_text(json.dumps(self.vpc.metadata()), encoding="utf-8")
        os.replace(part, self.metadata_file)

    # --- what LocalStack says ------------------------------------------------------------------

    async def operator(self, action, **parameters):
        """A call of the lab's own, not recorded."""
        return await self.upstream.ask(operator_request(action, parameters).raw)

    async def read_truth(self):
        """True if it is what was followed."""
        addresses, interfaces = await self.operator("DescribeAddresses"), await self.operator("DescribeNetworkInterfaces")
        return self.vpc.read(addresses.body, interfaces.body)

    async def verify(self):
        async with self.one_at_a_time:
            before = self.vpc.snapshot()
            if not await self.read_truth():
                self.troubles.append(f"LocalStack shows {self.vpc.snapshot()}, followed was {before}")
                self.show("nobody", None)
            if self.faults.staleness() is not None:
                await self.remember_reads()

    # --- stale reads ---------------------------------------------------------------------------

    async def before_a_change(self):
        """What was read so far is of yesterday: kept for stale reads, else forgotten."""
        if self.faults.staleness() is not None:
            await self.remember_reads()
        else:
            for _, answers in self.reads.values():
                answers.clear()

    async def remember_reads(self):
        """Asks every known read again, so that there is an answer of this time to replay later."""
        for request, answers in list(self.reads.values()):
            at = now()
            answers.append((at, await self.upstream.ask(request.raw)))
            del answers[:-50]

    async def stale(self, request, query, call, seconds):
        """The state of so long ago, but not of before the last change before this fault: between two changes the last answer will do."""
        asked_of = now() - seconds
        known = self.reads.get(query.key, (None, []))[1]
        then = [answer for at, answer in known if at <= asked_of] or [answer for _, answer in known[:1]]
        if not then:
            return await self.pass_on(request, query, call)
        call["passed"] = call["landed"] = now()
        call["at_localstack"] = 0
        raw, call["request_id"] = ec2_query.with_new_id(then[-1])
        call["status"] = then[-1].status
        return raw

    # --- orders --------------------------------------------------------------------------------

    def later(self, seconds, work):
        task = asyncio.create_task(after(seconds, work))
        self.tasks.add(task)
        task.add_done_callback(self.finished)

    def finished(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.troubles.append(repr(task.exception()))

    async def carry_out(self, order, fields):
        return await getattr(self, f"order_{order}")(**fields)

    async def order_begin(self, directory, names):
        """A new scenario: nothing recorded, no faults; the state of now comes first."""
        await self.order_end()
        self.vpc.names = names
        self.calls, self.troubles, self.own_seconds, self.reads = [], [], [], {}
        self.faults.rules.clear()
        self.directory = Path(directory)
        self.holders = Lines(self.directory / "holders.jsonl")
        self.holder = {}
        async with self.one_at_a_time:
            await self.read_truth()
            self.show("start", None)
        for address, holder in sorted(self.vpc.holders().items()):
            if holder is None:
                self.holders.write(at=now(), address=address, holder=None, by="start", request_id=None)

    async def order_end(self):
        """Writes the record; what is still to land does not."""
        for task in self.tasks:
            task.cancel()
        if self.holders:
            lines = Lines(self.directory / "cloud.jsonl")
            for call in self.calls:
                call.pop("at_localstack", None)
                lines.write(**call)
            lines.close()
            self.holders.close()
            self.holders = None
        own = sorted(self.own_seconds)
        shares = {"median": own[len(own) // 2], "p99": own[len(own) * 99 // 100], "max": own[-1]} if own else {}
        return {"troubles": self.troubles, "own_ms": {name: round(seconds * 1000, 2) for name, seconds in shares.items()}}

    async def order_resources(self, image, private, public):
        """What the lab needs, made once."""
        vpc = await self.made("vpcId", "CreateVpc", CidrBlock="10.0.0.0/16")
        subnet = await self.made("subnetId", "CreateSubnet", VpcId=vpc, CidrBlock="10.0.1.0/24")
        nodes = {}
        for name, address in private.items():
            run = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet, "PrivateIpAddress": address}
            answer = await self.operator("RunInstances", **run)
            tags = {"instance": "instanceId", "interface": "networkInterfaceId", "mac": "macAddress"}
            nodes[name] = {key: ec2_query.text_of(answer.body, tag) for key, tag in tags.items()}
            if None in nodes[name].values():
                raise RuntimeError(f"RunInstances: {answer.body.decode()}")
        allocations = [await self.made("allocationId", "AllocateAddress", Domain="vpc", Address=address) for address in public]
        self.mine = {ids["interface"] for ids in nodes.values()}
        return {"nodes": nodes, "allocations": allocations}

    async def made(self, tag, action, **parameters):
        answer = await self.operator(action, **parameters)
        found = ec2_query.text_of(answer.body, tag)
        if not found:
            raise RuntimeError(f"{action}: {answer.body.decode()}")
        return found

    async def order_clean(self):
        """Nobody holds anything, and what was still to land does not."""
        await self.order_end()
        self.faults.rules.clear()
        async with self.one_at_a_time:
            await self.read_truth()
            for found in list(self.vpc.elastic.values()):
                if found.association:
                    await self.operator("DisassociateAddress", AssociationId=found.association)
            for interface in self.mine & self.vpc.interfaces.keys():
                listed = {f"PrivateIpAddress.{n}": address for n, address in enumerate(self.vpc.interfaces[interface][1:], 1)}
                if listed:
                    await self.operator("UnassignPrivateIpAddresses", NetworkInterfaceId=interface, **listed)
            await self.read_truth()
            self.show("nobody", None)

    async def order_fault(self, name, rule):
        if rule is None:
            self.faults.remove(name)
        else:
            self.faults.add(name, rule)
            if rule["kind"] == "stale":
                async with self.one_at_a_time:
                    await self.remember_reads()

    async def order_calls(self):
        return [{key: value for key, value in call.items() if key != "at_localstack"} for call in self.calls]

    async def order_holders(self):
        return self.vpc.holders()

    async def order_associations(self):
        return {allocation: found.association for allocation, found in self.vpc.elastic.items()}

    async def order_pending(self):
        """How many calls are still to land."""
        return len(self.tasks)

    async def order_call(self, action, parameters):
        """An operator's call: recorded and followed like any other, never harmed."""
        request = operator_request(action, parameters)
        query = Query(request)
        call = self.record(now(), OPERATOR, query)
        await self.pass_on(request, query, call)
        call["answered"] = now()
        return {"status": call["status"], "code": call["code"], "association": call["association"]}


def operator_request(action, parameters):
    body = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15", **parameters}).encode()
    scope = "test/20260101/eu-west-1/ec2/aws4_request"
    head = (
        f"POST / HTTP/1.1\r\nHost: {API}:{PORT}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n"
    ).encode()
    return http1.Message(head, body, head + body)


async def after(seconds, work):
    if seconds:
        await asyncio.sleep(seconds)
    await work


def first(*values):
    return next((value for value in values if value is not None), None)


async def main():
    gateway = Gateway(sys.argv[1])
    server = await asyncio.start_server(gateway.serve, API, PORT, limit=http1.LONGEST_HEAD, backlog=1024)
    async with server:
        await serve_orders(gateway.carry_out)


if __name__ == "__main__":
    asyncio.run(main())

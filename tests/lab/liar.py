"""A member that holds the key and lies about its configuration: between a node and one of its peers, it passes on what they say, but for manifests.

    liar.py NODE PEER KEY_FILE     runs in the node's namespace; orders on standard input: lie (how, of LIES), told (how many lies)
"""
import asyncio
import base64
import contextlib
import hmac
import json
import os
import socket
import sys
from pathlib import Path

from helper import serve_orders
from host import LINK_PORT
from http1 import answer, read_message
from topology import link_address, run

PORT = 7500  # And the next, one for each link.
MARK = 7  # What it sends itself goes to the peer.
HUGE = 1 << 40
MEGABYTE = bytes(1 << 20)


def garbage(_request, _body):
    return os.urandom(60_000)


def false(_request, body):
    """One entry is another, the digest as it was."""
    page = json.loads(body)
    if page.get("entries"):
        page["entries"][-1][1]["digest"] = "5a" * 32
    return json.dumps(page).encode()


def another(_request, body):
    """In itself it is right, but of another configuration than the heartbeats tell."""
    page = json.loads(body)
    return body if "content" in page else json.dumps({**page, "digest": "5b" * 32, "entries": page["entries"][:-1]}).encode()


def endless(request, body):
    """Page after page, each in order and with more to come."""
    start = int(request.first.partition("start=")[2].split(" ")[0] or 0)
    entry = {"digest": "00" * 32, "size": 1}
    entries = [[{"file": f"/etc/nginx/{number:09}"}, entry] for number in range(start, start + 400)]
    return json.dumps({"digest": json.loads(body).get("digest", "11" * 32), "start": start, "entries": entries, "more": True}).encode()


def empty(request, body):
    """Page after page, and nothing in them."""
    return json.dumps({**json.loads(body), "entries": [], "more": True}).encode()


def unsigned(_request, body):
    return body


LIES = {
    "false": false, "another": another, "endless": endless, "empty": empty, "garbage": garbage, "unsigned": unsigned, "huge": None, "hangs-up": None,
}  # fmt: skip


class Liar:
    def __init__(self, node, peer, key_file):
        self.node, self.peer = node, peer
        self.key = base64.b64decode(Path(key_file).read_text(encoding="ascii").split()[0])
        self.how, self.answered = None, 0

    async def begin(self):
        rules = ""
        for link in (0, 1):
            await asyncio.start_server(lambda r, w, link=link: self.pass_on(link, r, w), "0.0.0.0", PORT + link)
            to = f"dnat to {link_address(self.node, link)}:{PORT + link}"
            rules += f"ip daddr {link_address(self.peer, link)} tcp dport {LINK_PORT} meta mark != {MARK} {to}\n"
        chain = f"chain out {{\ntype nat hook output priority -100;\n{rules}}}\n"
        run("nft", "-f", "-", text=f"table ip liar\ndelete table ip liar\ntable ip liar {{\n{chain}}}\n")

    async def pass_on(self, link, reader, writer):
        """One connection of the node, and one to the peer for it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.ExitStack() as stack:
            stack.callback(writer.close)
            onward = socket.socket()
            onward.setblocking(False)
            onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            onward.bind((link_address(self.node, link), 0))
            await asyncio.get_running_loop().sock_connect(onward, (link_address(self.peer, link), LINK_PORT))
            theirs, to_them = await asyncio.open_connection(sock=onward, limit=1 << 20)
            stack.callback(to_them.close)
            while request := await read_message(reader):
                to_them.write(request.raw)
                told = await read_message(theirs)
                if told is None:
                    return
                await self.tell(request, told, writer)

    async def tell(self, request, told, writer):
        if self.how is None or " /v1/manifest" not in request.first or told.status == 409:
            writer.write(told.raw)
            return
        self.answered += 1
        if self.how == "hangs-up":
            writer.write(told.raw[: len(told.raw) // 2])
            raise ConnectionResetError
        if self.how == "huge":
            writer.write(f"HTTP/1.1 200 OK\r\nX-Vipward-Mac: {told.headers['x-vipward-mac']}\r\nContent-Length: {HUGE}\r\n\r\n".encode())
            while True:
                writer.write(MEGABYTE)
                await writer.drain()
        body = LIES[self.how](request, told.body)
        mac = told.headers["x-vipward-mac"] if self.how == "unsigned" else self.sign(body, request.headers["x-vipward-mac"])
        if self.how == "unsigned":
            body = body.replace(b"keepalive", b"keepdead_", 1).replace(b'"more":false', b'"more":true', 1)
        writer.write(answer(200, "OK", body, "application/json", X_Vipward_Mac=mac))

    def sign(self, body, request_mac):
        """HMAC-SHA256 over each field with its length of eight bytes before it."""
        sealed = hmac.new(self.key, digestmod="sha256")
        for field in (b"vipward answer", (200).to_bytes(2), body, base64.b64decode(request_mac)):
            sealed.update(len(field).to_bytes(8) + field)
        return base64.b64encode(sealed.digest()).decode()

    async def carry_out(self, order, fields):
        if order == "lie":
            self.how, self.answered = fields["how"], 0
        return self.answered


async def main(node, peer, key_file):
    liar = Liar(node, peer, key_file)
    await liar.begin()
    await serve_orders(liar.carry_out)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

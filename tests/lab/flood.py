"""Hostile traffic of one kind at the nodes' links, as fast as it goes.

    flood.py overhear ADDRESS...              prints a heartbeat to each, as it leaves the namespace in which this runs, as one line of JSON
    flood.py KIND SECONDS KEY_FILE LETTERS    makes its requests from those (a file); prints what it sent and got as one line of JSON
"""
import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from host import LINK_PORT
from wire import Letter

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # No TIME_WAIT: ports must last.
PATIENCE_SECONDS = 3
OTHER_KEY = bytes(32)
HUGE = 20 << 20
GARBAGE = (
    b"\0" * 100_000, b"A" * 1_000_000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/heartbeat HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    b"POST /v1/vote HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
    b"POST /v1/heartbeat HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(2000)) + b"\r\n",
)  # fmt: skip


def garbage(_letter, _key):
    return random.choice((os.urandom(4096), *GARBAGE))


def oversized(letter, key):
    return letter.signed(key).raw(length=HUGE) + bytes(100_000)


def truncated(letter, key):
    raw = letter.signed(key).raw(length=len(letter.body) + 1000)
    return raw[: random.choice((len(raw), len(raw) // 2, 20))]


def replayed(letter, _key):
    return letter.raw()


def wrong_key(letter, _key):
    return later(letter).signed(OTHER_KEY).raw()


def wrong_cluster(letter, key):
    return later(letter).but(cluster="another").signed(key).raw()


def wrong_version(letter, key):
    return later(letter).but(version="9.0").signed(key).raw()


def stranger(letter, key):
    return later(letter).but(**{"from": "lb-x"}).signed(key).raw()


def later(letter):
    return letter.but(sequence=str(int(letter.headers["sequence"]) + random.randrange(1, 1 << 40)))


SENT = {
    "garbage": garbage, "oversized": oversized, "truncated": truncated, "replayed": replayed, "wrong-key": wrong_key, "wrong-cluster": wrong_cluster,
    "wrong-version": wrong_version, "stranger": stranger,
}  # fmt: skip
HELD = {"slow-loris": (100, 0.05), "crowd": (1000, None)}  # How many connections at once, and the pause between two bytes.


def send(make, letters, key, until):
    """One connection after the other, each with one request. Counts the status of each answer."""
    counts = Counter()
    for address, letter in itertools.cycle(letters.items()):
        if time.monotonic() > until:
            return counts
        raw = make(letter, key)
        with contextlib.suppress(OSError), socket.create_connection((address, LINK_PORT), PATIENCE_SECONDS) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            counts["sent"] += 1
            with contextlib.suppress(ConnectionError):  # It may hang up in the middle, with an answer before.
                connection.sendall(raw)
            if make is truncated:
                connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            counts[answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/") else "closed"] += 1


async def hold(address, letter, pause, until, counts):
    """Connections, one after the other, each kept for as long as the node lets it: idle, or with a byte of a request now and then."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(address, LINK_PORT)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            counts["sent"] += 1
            ended = asyncio.ensure_future(reader.read(1))
            try:
                for byte in letter.raw() if pause else ():
                    writer.write(bytes([byte]))
                    if (await asyncio.wait([ended], timeout=pause))[0]:
                        break
                await ended
            finally:
                writer.transport.abort()


async def hold_all(many, pause, letters, until):
    counts = Counter()
    crowd = [hold(address, letter, pause, until, counts) for address, letter in itertools.islice(itertools.cycle(letters.items()), many)]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*crowd), until + PATIENCE_SECONDS - time.monotonic())
    return counts


def overhear(address):
    """A whole heartbeat to that address, as it leaves this namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as wire:
        wire.settimeout(PATIENCE_SECONDS)
        while True:
            packet = wire.recv(65536)
            raw = packet[20 + (packet[32] >> 4) * 4 :] if packet[:1] == b"\x45" and packet[16:20] == socket.inet_aton(address) else b""
            if raw.startswith(b"POST /v1/heartbeat") and raw.endswith(b"}"):
                return raw.decode()


def main(kind, *arguments):
    if kind == "overhear":
        print(json.dumps({address: overhear(address) for address in arguments}))
        return
    seconds, key_file, letters_file = arguments
    key = base64.b64decode(Path(key_file).read_text(encoding="ascii"))
    letters = {address: Letter.read(raw.encode()) for address, raw in json.loads(Path(letters_file).read_text(encoding="utf-8")).items()}
    until = time.monotonic() + float(seconds)
    counts = send(SENT[kind], letters, key, until) if kind in SENT else asyncio.run(hold_all(*HELD[kind], letters, until))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])

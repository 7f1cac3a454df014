"""Writes down what the nodes' links answer, as it leaves or reaches the namespace in which this runs.

    sniffer.py FILE     until it is killed; prints a line when it listens
"""
import socket
import sys

from host import LINK_PORT

IPV4_TCP = b"\x45"


def payload(packet):
    """Of an answer from a link; else nothing."""
    if packet[:1] != IPV4_TCP or packet[9] != socket.IPPROTO_TCP or int.from_bytes(packet[20:22]) != LINK_PORT:
        return b""
    return packet[20 + (packet[32] >> 4) * 4 : int.from_bytes(packet[2:4])]


def main(path):
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as wire, open(path, "ab", buffering=0) as file:
        print("listening", flush=True)
        while True:
            file.write(payload(wire.recv(1 << 17)))


if __name__ == "__main__":
    main(*sys.argv[1:])

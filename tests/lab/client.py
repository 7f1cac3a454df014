"""The users: an open loop of requests, one new connection each, whatever became of those before.

    client.py        runs in the namespace `client`, asked by `helper.Helper`

One thread, one epoll: at 200 requests a second it takes a few per cent of a core.
"""
import errno
import json
import os
import select
import socket
import sys
from collections import deque

from processor import never_wait
from records import Lines, now
from users import TIMEOUT_SECONDS

REQUEST = b"GET / HTTP/1.1\r\nHost: service\r\nUser-Agent: lab\r\n\r\n"
RESET_ON_CLOSE = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # SO_LINGER of 0: no TIME_WAIT is left anywhere.


class Client:
    """What is on its way, and what came of the rest."""

    def __init__(self):
        self.poll = select.epoll()
        self.open = {}
        self.order = deque()  # Of descriptors and start times: the time-out is the same for all, so the first is due first.
        self.targets = []
        self.interval = 0
        self.next = None
        self.lines = None
        self.recent = deque(maxlen=100_000)
        self.turn = 0

    def start(self, directory, targets, interval):
        self.stop()
        self.lines = Lines(os.path.join(directory, "client.jsonl"))
        self.targets, self.interval, self.next = targets, interval, now()
        self.recent.clear()

    def stop(self):
        self.next = None
        for number in list(self.open):
            self.finish(number, None, None)
        if self.lines:
            self.lines.close()
            self.lines = None

    def send_due(self):
        while self.next is not None and self.next <= now():
            self.next += self.interval
            for target in self.targets:
                self.send(target)

    def send(self, target):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        at = now()
        code = connection.connect_ex((target, 80))
        if code not in (0, errno.EINPROGRESS):
            connection.close()
            self.tell(at, target, None, name_of(code))
            return
        number = connection.fileno()
        self.open[number] = [connection, at, target, b""]
        self.order.append((number, at))
        self.poll.register(number, select.EPOLLOUT)

    def on_event(self, number, events):
        if number not in self.open:
            return
        connection, _, _, got = self.open[number]
        try:
            if events & select.EPOLLOUT:
                if code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.finish(number, None, name_of(code))
                    return
                connection.send(REQUEST)
                self.poll.modify(number, select.EPOLLIN)
                return
            part = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.finish(number, None, name_of(error.errno))
            return
        got += part
        self.open[number][3] = got
        _, separator, body = got.partition(b"\r\n\r\n")
        if separator and body.endswith(b"\n"):
            served = got.startswith(b"HTTP/1.1 200")
            self.finish(number, body.decode().strip() if served else None, None if served else "status")
        elif not part:
            self.finish(number, None, "closed")

    def finish(self, number, server, error):
        connection, at, target, _ = self.open.pop(number)
        self.poll.unregister(number)
        connection.close()
        if server or error:
            self.tell(at, target, server, error)

    def tell(self, at, target, server, error):
        line = {"at": at, "took": now() - at, "server": server, "error": error, "target": target}
        self.recent.append(line)
        if self.lines:
            self.lines.write(**line)

    def expire(self):
        late = now() - TIMEOUT_SECONDS
        while self.order and (self.order[0][1] <= late or self.order[0][0] not in self.open):
            number, at = self.order.popleft()
            if number in self.open and self.open[number][1] == at:
                self.finish(number, None, "timeout")

    def wait(self):
        """How long nothing is due."""
        due = [self.next] if self.next is not None else []
        if self.order:
            due.append(self.order[0][1] + TIMEOUT_SECONDS)
        return max(min(due) - now(), 0) if due else -1

    def carry_out(self, order, fields):
        if order == "start":
            self.start(**fields)
        elif order == "stop":
            self.stop()
        elif order == "requests":
            return [line for line in self.recent if line["at"] >= fields["since"]]
        else:
            raise ValueError(order)
        return None


def name_of(code):
    names = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.ETIMEDOUT: "timeout", errno.EHOSTUNREACH: "unreachable"}
    return names.get(code, errno.errorcode.get(code, str(code)))


def main():
    never_wait()
    client = Client()
    orders = sys.stdin.fileno()
    client.poll.register(orders, select.EPOLLIN)
    unread = b""
    while True:
        for number, events in client.poll.poll(client.wait()):
            if number != orders:
                client.on_event(number, events)
                continue
            part = os.read(orders, 65536)
            if not part:
                return
            *lines, unread = (unread + part).split(b"\n")
            for line in lines:
                fields = json.loads(line)
                print(json.dumps({"answer": client.carry_out(fields.pop("do"), fields)}), flush=True)
        client.expire()
        client.send_due()


if __name__ == "__main__":
    main()

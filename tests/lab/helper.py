"""A process of the lab in a namespace, which is asked by a line of JSON on its standard input and answers by one on its standard output."""
import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

from processor import prefer

HERE = Path(__file__).resolve().parent


class HelperDied(Exception):
    """A part of the lab itself ended: no verdict about the product is possible."""


class Helper:
    """The asking side."""

    def __init__(self, namespace, program, *arguments, log):
        self.name = program
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, sys.executable, str(HERE / program), *map(str, arguments)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        prefer(self.process.pid)
        self.lock = threading.Lock()

    def ask(self, order, **fields):
        """Sends one order and returns its answer."""
        with self.lock:
            try:
                self.process.stdin.write((json.dumps({"do": order, **fields}) + "\n").encode())
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except OSError as error:
                raise HelperDied(f"{self.name} ended ({error}); see {self.log}") from error
        if not line:
            raise HelperDied(f"{self.name} ended while it was asked to {order}; see {self.log}")
        answer = json.loads(line)
        if "failed" in answer:
            raise HelperDied(f"{self.name} could not {order}: {answer['failed']}; see {self.log}")
        return answer.get("answer")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


async def serve_orders(carry_out):
    """The asked side: `await carry_out(order, fields)` for each line, until the asker is gone."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        fields = json.loads(line)
        order = fields.pop("do")
        try:
            answer = {"answer": await carry_out(order, fields)}
        except Exception as error:  # noqa: BLE001  Whatever it is, the asker must hear of it.
            answer = {"failed": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

"""As much of HTTP/1.1 as a faithful proxy needs: messages are read whole and kept as the bytes that came."""
import asyncio

LONGEST_HEAD = 1 << 18


class Message:
    """One request or answer. `raw` is all of it, byte for byte."""

    __slots__ = ("head", "body", "raw", "first", "headers")

    def __init__(self, head, body, raw):
        self.head, self.body, self.raw = head, body, raw
        lines = head.decode("latin-1").split("\r\n")
        self.first = lines[0]
        fields = (line.partition(":") for line in lines[1:] if line)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in fields}

    @property
    def status(self):
        return int(self.first.split(" ", 2)[1])

    @property
    def closes(self):
        return self.headers.get("connection", "").lower() == "close"


async def read_message(reader):
    """The next message, or None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    fields = head.lower()
    if b"\r\ntransfer-encoding: chunked" in fields:
        body, tail = await read_chunks(reader)
        return Message(head, body, head + tail)
    start = fields.find(b"\r\ncontent-length:")
    length = int(fields[start + 17 : fields.index(b"\r\n", start + 17)]) if start >= 0 else 0
    try:
        body = await reader.readexactly(length) if length else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Message(head, body, head + body)


async def read_chunks(reader):
    """The body, and the bytes that carried it."""
    body, raw = b"", b""
    while True:
        line = await reader.readuntil(b"\r\n")
        raw += line
        size = int(line.split(b";")[0], 16)
        chunk = await reader.readexactly(size + 2)
        raw += chunk
        if not size:
            return body, raw
        body += chunk[:-2]


def answer(status, reason, body, content_type="text/xml;charset=UTF-8", **headers):
    """The bytes of an answer of our own."""
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

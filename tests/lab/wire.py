"""The requests between nodes as the contract has them ("HTTP between nodes"), made by hand: what a stranger or a peer gone mad would send."""
import base64
import hmac

PATH = "/v1/heartbeat"


class Letter:
    """One request. Headers are kept by their names without `x-vipward-`."""

    def __init__(self, headers, body, path=PATH):
        self.headers, self.body, self.path = headers, body, path

    @classmethod
    def read(cls, raw):
        """From the bytes of a request as it was on the wire."""
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower().removeprefix("x-vipward-"): value.strip() for name, _, value in fields}
        names = ("version", "cluster", "from", "to", "link", "boot", "to-boot", "sequence", "mac")
        return cls({name: headers[name] for name in names if name in headers}, body, first.split(" ")[1])

    def but(self, **headers):
        """The same with some headers changed; it keeps its MAC."""
        return Letter(self.headers | headers, self.body, self.path)

    def signed(self, key):
        """HMAC-SHA256 over each field with its length of eight bytes before it."""
        headers, sealed = self.headers, hmac.new(key, digestmod="sha256")
        fields = [b"vipward request", *(headers[name].encode() for name in ("version", "cluster")), b"POST", self.path.encode(), self.body]
        fields += [headers[name].encode() for name in ("from", "to")] + [bytes([int(headers["link"])])]
        fields += [headers["boot"].encode(), headers.get("to-boot", "").encode(), int(headers["sequence"]).to_bytes(8)]
        for field in fields:
            sealed.update(len(field).to_bytes(8) + field)
        return self.but(mac=base64.b64encode(sealed.digest()).decode())

    def raw(self, length=None):
        """The bytes; `length` is what it says of its body's length, if that is not true."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: node", f"Content-Length: {len(self.body) if length is None else length}"]
        lines += [f"X-Vipward-{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body

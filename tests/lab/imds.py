"""Instance metadata, version 2 only, of one balancer: what the cloud knows of it, and credentials that expire.

    imds.py STATE_FILE      runs in the balancer's namespace, asked by `helper.Helper`

STATE_FILE is written by the gateway: each interface's addresses as the cloud has them.
"""
import asyncio
import json
import socket
import sys
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import http1
from helper import serve_orders
from records import now
from topology import METADATA

ROLE = "vipward"
ROOT = "/latest/meta-data/"
LIFE_SECONDS = 6 * 3600


class Metadata:
    """One instance's."""

    def __init__(self, state_file):
        self.state_file = Path(state_file)
        self.ids = {}
        self.tokens = {}
        self.fault = {}
        self.extra = {}
        self.life = LIFE_SECONDS
        self.served = 0

    def values(self):
        """Every path and its text."""
        ids = self.ids
        interface = f"{ROOT}network/interfaces/macs/{ids['mac']}/"
        state = json.loads(self.state_file.read_text(encoding="utf-8")).get(ids["interface"], {})
        private, public = state.get("local-ipv4s", []), state.get("public-ipv4s", [])
        found = {
            "instance-id": ids["instance"], "mac": ids["mac"], "local-hostname": ids["instance"], "local-ipv4": "".join(private[:1]),
            "public-ipv4": "".join(public[:1]), "placement/region": ids["region"], "placement/availability-zone": f"{ids['region']}a",
            f"iam/security-credentials/{ROLE}": self.credentials(),
        }  # fmt: skip
        found = {ROOT + path: text for path, text in found.items()}
        document = json.dumps({"instanceId": ids["instance"], "region": ids["region"], "privateIp": "".join(private[:1])})
        found |= {interface + "interface-id": ids["interface"], interface + "device-number": "0", interface + "mac": ids["mac"]}
        found |= {interface + "local-ipv4s": "\n".join(private), interface + "public-ipv4s": "\n".join(public)}
        found |= {interface + "subnet-ipv4-cidr-block": "10.0.1.0/24", "/latest/dynamic/instance-identity/document": document}
        return {path: text for path, text in (found | self.extra).items() if text}

    def credentials(self):
        """Made anew for each reader; `life` may be negative: then they have expired when they are handed out."""
        at = datetime.now(timezone.utc)
        shown = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (at, at + timedelta(seconds=self.life))]
        key = f"ASIA{uuid.uuid4().hex[:16].upper()}"
        return json.dumps(
            {
                "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": shown[0], "AccessKeyId": key, "SecretAccessKey": "test",
                "Token": "test", "Expiration": shown[1],
            }
        )  # fmt: skip

    def read(self, path):
        values = self.values()
        if path in values:
            return values[path]
        folder = path.rstrip("/") + "/"
        below = [name[len(folder) :] for name in values if name.startswith(folder)]
        names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
        return "\n".join(sorted(names)) or None

    async def serve(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while request := await http1.read_message(reader):
                self.served += 1
                if self.fault.get("stall"):
                    await reader.read(1)
                    break
                await asyncio.sleep(self.fault.get("seconds", 0))
                writer.write(self.answer(request))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, request):
        method, path, _ = request.first.split(" ", 2)
        if status := self.fault.get("status"):
            return plain(status, "")
        if (method, path) == ("PUT", "/latest/api/token"):
            life = int(request.headers.get("x-aws-ec2-metadata-token-ttl-seconds") or 0)
            if not 1 <= life <= 21600:
                return plain(400, "")
            token = uuid.uuid4().hex
            self.tokens[token] = now() + life
            return plain(200, token, x_aws_ec2_metadata_token_ttl_seconds=life)
        if method != "GET":
            return plain(405, "")
        if self.tokens.get(request.headers.get("x-aws-ec2-metadata-token"), 0) < now():
            return plain(401, "")
        text = self.read(path)
        return plain(404, "") if text is None else plain(200, text)

    async def carry_out(self, order, fields):
        """`reset` (with the instance's ids), `fault`, `life` of credentials in seconds, `set` a path, `served`: how many requests."""
        if order == "reset":
            self.ids, self.fault, self.extra, self.life, self.served = fields, {}, {}, LIFE_SECONDS, 0
        elif order == "fault":
            self.fault = fields
        elif order == "life":
            self.life = fields["seconds"]
        elif order == "set":
            self.extra[fields["path"]] = fields["text"]
        elif order != "served":
            raise ValueError(order)
        return self.served


def plain(status, text, **headers):
    return http1.answer(status, "as the lab says", text.encode(), "text/plain", **headers)


async def main():
    metadata = Metadata(sys.argv[1])
    # With this option it can have its one address beside an Nginx that has all of them.
    server = await asyncio.start_server(metadata.serve, METADATA, 80, limit=http1.LONGEST_HEAD, reuse_port=True)
    async with server:
        await serve_orders(metadata.carry_out)


if __name__ == "__main__":
    asyncio.run(main())

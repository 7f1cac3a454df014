"""EC2's query protocol, read from outside: what a request asks for, and what an answer says."""
import re
import urllib.parse
import uuid

import http1

MUTATING = {"AssociateAddress", "DisassociateAddress", "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"}
CHANGES = ("Create", "Replace", "Delete", "Run", "Terminate", "Modify", "Attach", "Detach", "Allocate", "Release")


class Query:
    """One request's parameters."""

    def __init__(self, message):
        self.parameters = dict(urllib.parse.parse_qsl(message.body.decode("latin-1"), keep_blank_values=True))
        self.operation = self.parameters.get("Action") or message.first.split(" ")[1]
        self.dry_run = self.flag("DryRun") or False

    def get(self, name):
        return self.parameters.get(name) or None

    def flag(self, name):
        value = self.parameters.get(name)
        return None if value is None else value.lower() == "true"

    def listed(self, name):
        """The values of NAME.1, NAME.2, ..."""
        numbered = ((key.rpartition("."), value) for key, value in self.parameters.items())
        found = [(int(number), value) for (prefix, _, number), value in numbered if prefix == name and number.isdigit()]
        return [value for _, value in sorted(found)]

    @property
    def mutates(self):
        return self.operation in MUTATING and not self.dry_run

    @property
    def may_change(self):
        return not self.dry_run and (self.operation in MUTATING or self.operation.startswith(CHANGES))

    @property
    def key(self):
        """What makes two reads the same read."""
        return tuple(sorted(self.parameters.items()))


def text_of(body, tag):
    """The first element of this name: EC2's answers need no more."""
    found = re.search(rf"<{tag}>([^<]*)</{tag}>".encode(), body)
    return found.group(1).decode() if found else None


def request_id(message):
    return message.headers.get("x-amzn-requestid") or text_of(message.body, "requestId") or text_of(message.body, "RequestID")


def error(status, reason, code, text):
    """An EC2 error, and its request id."""
    number = str(uuid.uuid4())
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>'
        f"<RequestID>{number}</RequestID></Response>"
    )
    return http1.answer(status, reason, body.encode(), x_amzn_requestid=number), number


def with_new_id(message):
    """An old answer under a new request id."""
    old, number = request_id(message), str(uuid.uuid4())
    raw = message.raw.replace(old.encode(), number.encode()) if old else message.raw
    return raw, number

"""Reads files of JSON lines, and checks what is in them before anybody relies on it."""
import json
from dataclasses import dataclass

LONGEST_EVIDENCE = 400

NUMBER = (int, float)
TEXT = (str,)
WHOLE = (int,)
FLAG = (bool,)
TABLE = (dict,)


@dataclass(frozen=True)
class Schema:
    """The keys that a line must have, and those that may be absent or null; others are welcome."""

    required: dict
    optional: dict

    def complaint(self, fields):
        for key, kinds in self.required.items():
            if fields.get(key) is None:
                return f"has no {key!r}"
            if not fits(fields[key], kinds):
                return f"has a {key!r} of the wrong kind: {fields[key]!r}"
        for key, kinds in self.optional.items():
            if fields.get(key) is not None and not fits(fields[key], kinds):
                return f"has a {key!r} of the wrong kind: {fields[key]!r}"
        return None


def fits(value, kinds):
    return isinstance(value, kinds) and (kinds is FLAG or not isinstance(value, bool))


@dataclass(frozen=True)
class Row:
    """One line: where it stands and what it says."""

    file: str
    number: int
    fields: dict

    def __getitem__(self, key):
        return self.fields.get(key)

    def evidence(self):
        text = json.dumps(self.fields, separators=(",", ":"))
        return f"{self.file}:{self.number}: {text if len(text) <= LONGEST_EVIDENCE else text[:LONGEST_EVIDENCE] + '...'}"


@dataclass(frozen=True)
class Complaint:
    """A line that cannot be used. `torn`: the last one, without its end."""

    sentence: str
    torn: bool


def read_rows(path, shown, schema):
    """The usable lines of a file and the complaints about the others; `OSError` if it cannot be read."""
    text = path.read_bytes().decode(errors="replace")
    lines = text.split("\n")
    torn = lines.pop()
    rows, complaints = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = parse(line)
        if fields is None:
            complaints.append(Complaint(f"{shown}:{number} is not a JSON object: {line[:120]!r}", False))
        elif complaint := schema.complaint(fields):
            complaints.append(Complaint(f"{shown}:{number} {complaint}", False))
        else:
            rows.append(Row(shown, number, fields))
    if torn.strip():
        complaints.append(Complaint(f"{shown}:{len(lines) + 1} is cut off in the middle of the line: {torn[:120]!r}", True))
    return rows, complaints


def parse(line):
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None

"""I4: terms never go backwards, through any restart with its disk kept. By each node's own lines, in their order."""


def judge(recording, calls, verdict):
    del calls
    for node, journal in recording.journals.items():
        highest = {}
        for entry in journal.entries:
            kind = kind_of(entry)
            if kind is None or entry["term"] is None:
                continue
            before = highest.get(entry["group"])
            if before is not None and not may_follow(entry, kind, before):
                sentence = f"{node} {kind} in term {entry['term']} of {entry['group']} after it {before[1]} in term {before[0]['term']}"
                verdict.find("I4", entry.at, sentence, before[0], entry)
            if before is None or entry["term"] >= before[0]["term"]:
                highest[entry["group"]] = (entry, kind)


def kind_of(entry):
    if entry.event == "vote-granted":
        return "voted"
    if entry.event == "role-changed" and entry["to"] in ("candidate", "master"):
        return "stood" if entry["to"] == "candidate" else "became master"
    return None


def may_follow(entry, kind, before):
    """Every vote and every candidacy is of a term above all before; a candidate becomes master in its own term."""
    if kind == "became master" and before[1] == "stood":
        return entry["term"] >= before[0]["term"]
    return entry["term"] > before[0]["term"]

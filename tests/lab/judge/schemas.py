"""What the lines of each file must have for the judge to use them."""
from .rows import FLAG, NUMBER, TABLE, TEXT, WHOLE, Schema

CLIENT = Schema({"at": NUMBER}, {"took": NUMBER, "server": TEXT, "error": TEXT, "target": TEXT})
CLOUD = Schema(
    {"arrived": NUMBER, "node": TEXT, "operation": TEXT},
    {
        "passed": NUMBER,
        "landed": NUMBER,
        "answered": NUMBER,
        "dry_run": FLAG,
        "address": TEXT,
        "to": TEXT,
        "reassociate": FLAG,
        "association": TEXT,
        "status": WHOLE,
        "code": TEXT,
        "request_id": TEXT,
        "fault": TEXT,
    },
)
HOLDERS = Schema({"at": NUMBER, "address": TEXT}, {"holder": TEXT, "by": TEXT, "request_id": TEXT})
FAULTS = Schema({"at": NUMBER, "fault": TEXT}, {"node": TEXT, "on": FLAG, "detail": TABLE})
PROCESSES = Schema({"at": NUMBER, "node": TEXT, "what": TEXT}, {"pid": WHOLE, "code": WHOLE})
CONFIGURATIONS = Schema({"at": NUMBER, "node": TEXT, "files": TEXT}, {"loaded": TEXT, "override": TEXT})
JOURNAL = Schema(
    {"seq": WHOLE, "at": TEXT, "node": TEXT, "boot": TEXT, "event": TEXT},
    {
        "group": TEXT,
        "term": WHOLE,
        "cause": TEXT,
        "from": TEXT,
        "to": TEXT,
        "reason": TEXT,
        "candidate": TEXT,
        "exception": TEXT,
        "peer": TEXT,
        "call_id": WHOLE,
        "operation": TEXT,
        "address": TEXT,
        "outcome": TEXT,
        "request_id": TEXT,
        "ownership": TEXT,
        "name": TEXT,
        "lost": WHOLE,
        "pid": WHOLE,
    },
)

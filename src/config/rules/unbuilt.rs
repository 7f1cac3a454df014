//! Keys whose part is not built yet: refused where safety rests on them, else named in a warning.

use super::super::problem::Findings;
use super::super::raw::{RawConfig, RawOnStop};

pub(super) fn refuse(raw: &RawConfig, findings: &mut Findings) {
    if findings.places.has("arbiter") {
        findings.error(
            "arbiter",
            "is not in this version, and without it two voters cannot outlive a failure; take it \
             out and add a third node with role = \"witness\"",
        );
    }
    if findings.places.has("security.tls") {
        findings.error(
            "security.tls",
            "is not in this version: messages between nodes are authenticated, not encrypted; \
             take it out, and run the links over a network that you trust or a tunnel",
        );
    }
    if raw.timing.on_stop == RawOnStop::Hold {
        findings
            .warn("timing.on_stop", "\"hold\" is not in this version: a stopped master hands over");
    }
}

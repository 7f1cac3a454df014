//! Node-specific lines: what a rule drops stays this node's own.

use std::net::IpAddr;

use crate::lines::{lines, split_break};
use crate::{Rules, Variables};

/// What stands for the other node in a line that is dropped, and what for this one.
#[derive(Clone, Debug, Default)]
pub struct Substitutions(Vec<(String, String)>);

impl Substitutions {
    /// From the other node's name and addresses of links to this one's. Where this node has fewer
    /// links, its last is used.
    #[must_use]
    pub fn new(theirs: &Variables, own: &Variables) -> Self {
        let mut pairs = vec![(theirs.node.clone(), own.node.clone())];
        for (index, link) in theirs.links.iter().enumerate() {
            if let Some(own) = own.links.get(index).or_else(|| own.links.last()) {
                pairs.push((link.to_string(), own.to_string()));
            }
        }
        pairs.retain(|(theirs, _)| !theirs.is_empty());
        // The longest first: a name may be the beginning of another.
        pairs.sort_by_key(|(theirs, _)| std::cmp::Reverse(theirs.len()));
        Self(pairs)
    }

    /// The line with this node's values in it.
    fn apply(&self, line: &[u8]) -> Vec<u8> {
        let mut replaced = Vec::with_capacity(line.len());
        let mut at = 0;
        while let Some(byte) = line.get(at) {
            let here = self.0.iter().find(|(theirs, _)| stands_at(line, at, theirs));
            if let Some((theirs, own)) = here {
                replaced.extend_from_slice(own.as_bytes());
                at += theirs.len();
            } else {
                replaced.push(*byte);
                at += 1;
            }
        }
        replaced
    }
}

/// Whether the value stands there as a word of its own: 10.0.1.1 is not in 10.0.1.11.
fn stands_at(line: &[u8], at: usize, value: &str) -> bool {
    let Some(rest) = line.get(at..).and_then(|rest| rest.strip_prefix(value.as_bytes())) else {
        return false;
    };
    let before = line.get(..at).unwrap_or_default();
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if before.last().is_some_and(joins) || rest.first().is_some_and(joins) {
        return false;
    }
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    match value.parse() {
        // An address may be followed by a port, and ended by a full stop, but is no part of another.
        Ok(IpAddr::V4(_)) => {
            let goes_on = rest.first() == Some(&b'.') && digit(rest.get(1));
            let began = before.last() == Some(&b'.');
            !goes_on && !began
        }
        Ok(IpAddr::V6(_)) => rest.first() != Some(&b':') && before.last() != Some(&b':'),
        Err(_) => true,
    }
}

/// The fetched content with this node's own lines in place of those that are dropped.
///
/// `local` is what this node has now, if it has the file at all.
pub(super) fn merge(
    fetched: &[u8],
    local: Option<&[u8]>,
    (theirs, own): (&Rules, &Rules),
    substitutions: &Substitutions,
) -> Result<Vec<u8>, String> {
    let Some(local) = local else {
        let line = |line: &[u8]| {
            if theirs.drops(line) { substitutions.apply(line) } else { line.to_vec() }
        };
        return Ok(lines(fetched).flat_map(line).collect());
    };
    let kept: Vec<&[u8]> = lines(local).filter(|line| own.drops(line)).collect();
    let replaced = lines(fetched).filter(|line| theirs.drops(line)).count();
    if kept.len() != replaced {
        return Err(format!(
            "it has {replaced} node-specific lines there and {} here: \
             which of them belong together cannot be told",
            kept.len()
        ));
    }
    let mut kept = kept.into_iter();
    let mut merged = Vec::with_capacity(fetched.len());
    for line in lines(fetched) {
        match if theirs.drops(line) { kept.next() } else { None } {
            Some(own) => {
                merged.extend_from_slice(split_break(own).0);
                merged.extend_from_slice(split_break(line).1);
            }
            None => merged.extend_from_slice(line),
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::fixture::rules;

    fn substitutions() -> Substitutions {
        let variables = |node: &str, links: &[&str]| Variables {
            node: node.to_owned(),
            links: links.iter().map(|link| link.parse().unwrap()).collect(),
        };
        let theirs = variables("lb-a", &["10.0.1.1", "fd00::1"]);
        Substitutions::new(&theirs, &variables("lb-b", &["10.0.1.2"]))
    }

    #[test]
    fn replaces_values_that_stand_alone() {
        for (given, expected) in [
            ("listen 10.0.1.1:80;", "listen 10.0.1.2:80;"),
            ("# see 10.0.1.1.", "# see 10.0.1.2."),
            ("10.0.1.11 110.0.1.1 10.0.1.1.5", "10.0.1.11 110.0.1.1 10.0.1.1.5"),
            ("lb-a lb-a.example.com xlb-a lb-ab", "lb-b lb-b.example.com xlb-a lb-ab"),
            ("[fd00::1]:80 fd00::12 fd00::1:2", "[10.0.1.2]:80 fd00::12 fd00::1:2"),
        ] {
            let found = substitutions().apply(given.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }

    #[test]
    fn keeps_the_lines_of_this_node() {
        for (fetched, local, expected) in [
            (
                "a\n#node A1\nb\n#node A2\n",
                Some("#node B1\n#node B2\nold\n"),
                Ok("a\n#node B1\nb\n#node B2\n"),
            ),
            ("a\n#node A1", Some("#node B1\nold"), Ok("a\n#node B1")),
            ("#node A1\na\n", Some("old\n#node B1"), Ok("#node B1\na\n")),
            ("lb-a\n#node lb-a\n", None, Ok("lb-a\n#node lb-b\n")),
            ("a\n", Some("b"), Ok("a\n")),
            ("a\n#node A1\n", Some("a\n"), Err("it has 1 node-specific lines there and 0 here")),
            ("a\n", Some("#node B1\n"), Err("it has 0 node-specific lines there and 1 here")),
        ] {
            let local = local.map(str::as_bytes);
            let rules = rules();
            let found = merge(fetched.as_bytes(), local, (&rules, &rules), &substitutions());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected.as_bytes()),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => panic!("{found:?}, not {expected:?}, of {fetched}"),
            }
        }
    }
}

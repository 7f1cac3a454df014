//! Numbers of owners and groups, by the names that travel.

use std::fs;
use std::io;

/// What `/etc/passwd` or `/etc/group` tells. Other sources (LDAP) could block, and owners of a
/// balancer's files are not found there.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl Accounts {
    pub(super) fn read() -> io::Result<Self> {
        let users = parse(&String::from_utf8_lossy(&fs::read("/etc/passwd")?));
        let groups = parse(&String::from_utf8_lossy(&fs::read("/etc/group")?));
        Ok(Self { users, groups })
    }

    pub(super) fn user(&self, name: &str) -> Option<u32> {
        find(&self.users, name)
    }

    pub(super) fn group(&self, name: &str) -> Option<u32> {
        find(&self.groups, name)
    }
}

/// Lines of `name:password:number:…`.
fn parse(text: &str) -> Vec<(String, u32)> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((name.to_owned(), number))
    };
    text.lines().filter_map(entry).collect()
}

/// An owner without a name is told by its number.
fn find(known: &[(String, u32)], name: &str) -> Option<u32> {
    let named = known.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
    named.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_and_numbers() {
        let users = parse("root:x:0:0:root:/root:/bin/bash\nbroken\nwww-data:x:33:33::/var/www:\n");
        assert_eq!(find(&users, "root"), Some(0));
        assert_eq!(find(&users, "www-data"), Some(33));
        assert_eq!(find(&users, "12345"), Some(12345));
        assert_eq!(find(&users, "nginx"), None);
        assert_eq!(Accounts::read().unwrap().user("root"), Some(0));
    }
}

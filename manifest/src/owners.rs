//! Owners by name: the same user has another number on another machine.
//!
//! Read from the machine's own files, not through its name services: those may hang on a server
//! far away. An owner that is in neither file is told by number.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// So much is read of either file.
const LARGEST: u64 = 4 << 20;

/// The names of users and groups.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Owners {
    /// As this machine has them now.
    pub(crate) fn read() -> Self {
        Self { users: names(Path::new("/etc/passwd")), groups: names(Path::new("/etc/group")) }
    }

    pub(crate) fn user(&self, number: u32) -> String {
        name(&self.users, number)
    }

    pub(crate) fn group(&self, number: u32) -> String {
        name(&self.groups, number)
    }
}

fn name(names: &HashMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or_else(|| number.to_string())
}

/// The names in a file whose lines are `NAME:PASSWORD:NUMBER:...`. The first of a number counts.
fn names(path: &Path) -> HashMap<u32, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    let mut names = HashMap::new();
    // Without the file, owners are compared by number.
    if read.is_ok() {
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(_), Some(number)) =
                (fields.next(), fields.next(), fields.next())
                && let Ok(number) = number.parse()
            {
                names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_numbers_stand_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        let text =
            "root:x:0:0:root:/root:/bin/sh\n# nothing\nalias:x:0:0::/:\nbad:x:y\nwww:x:33:33\n";
        std::fs::write(&path, text).unwrap();
        let names = names(&path);
        assert_eq!(
            (name(&names, 0), name(&names, 33), name(&names, 7)),
            ("root".into(), "www".into(), "7".into())
        );
        assert!(super::names(&directory.path().join("absent")).is_empty());
    }
}

//! What is planned, and every reason not to.

use super::fixture::World;
use super::*;
use crate::{Entry, EntryName, FileFacts, Hash, Manifest};

/// What the plan says when only `theirs` has the entry, or `own` and `theirs` do.
fn refusal(world: &World, name: &EntryName, own: Option<Entry>, theirs: Option<Entry>) -> String {
    let manifest = |entry: Option<Entry>| Manifest {
        entries: entry.into_iter().map(|entry| (name.clone(), entry)).collect(),
    };
    match Plan::new(&manifest(own), &manifest(theirs), &world.settings()) {
        Ok(plan) => format!("planned {} and {}", plan.len(), plan.follows().len()),
        Err(refusal) => refusal.to_string().replace("a pull cannot make this node equal: ", ""),
    }
}

fn entry(change: impl FnOnce(&mut Entry)) -> Option<Entry> {
    let file = FileFacts {
        content: Hash([1; 32]),
        mode: 0o644,
        owner: "root".into(),
        group: "root".into(),
        link: None,
    };
    let mut entry = Entry {
        digest: file.digest(),
        file: Some(file),
        size: 1,
        digest_only: false,
        unapplied: false,
        problem: None,
    };
    change(&mut entry);
    entry.digest = entry.file.as_ref().map_or(Hash::default(), FileFacts::digest);
    Some(entry)
}

#[test]
fn never_reach_beyond_the_declared_globs() {
    let world = World::new();
    let root = world.root();
    for (path, expected) in [
        ("/etc/shadow".to_owned(), "matches no declared pattern"),
        (format!("{root}/../../etc/shadow"), "is no plain absolute path"),
        (format!("{root}/./a"), "is no plain absolute path"),
        (format!("{root}//a"), "is no plain absolute path"),
        (format!("{root}/a/"), "is no plain absolute path"),
        (format!("{root}/a\0b"), "is no plain absolute path"),
        ("relative".to_owned(), "is no plain absolute path"),
        (format!("{root}/{}", "a/".repeat(100) + "a"), "is no path that is fetched"),
        (format!("{root}/{STAGING}/0"), "matches no declared pattern"),
        (format!("{root}/excluded/x"), "matches no declared pattern"),
        (format!("{root}/cert.key"), "is touched by no pull: copy it by hand"),
        (format!("{root}/a"), ""),
    ] {
        let name = EntryName::File(path);
        let there = refusal(&world, &name, None, entry(|_| ()));
        let here = refusal(&world, &name, entry(|_| ()), None);
        let words = name.words();
        let expected = if expected.is_empty() {
            "planned 1 and 0".to_owned()
        } else {
            format!("{words} {expected}")
        };
        let here = here.replace("remove it by hand", "copy it by hand");
        assert_eq!((here, there), (expected.clone(), expected));
    }
}

#[test]
fn that_cannot_make_the_node_equal_are_refused_with_the_reason() {
    let world = World::new();
    let name = EntryName::File(format!("{}/a", world.root()));
    let file = |change: fn(&mut Entry)| {
        entry(|entry| {
            entry.file.as_mut().unwrap().content = Hash([2; 32]);
            change(entry);
        })
    };
    let link = |text: &str| {
        let text = Some(text.to_owned());
        entry(|entry| entry.file.as_mut().unwrap().link = text)
    };
    let forged = || file(|_| ()).map(|entry| Entry { digest: Hash([9; 32]), ..entry });
    let removed = || entry(|entry| (entry.file, entry.unapplied) = (None, true));
    let own = || entry(|_| ());
    let table: Vec<(Option<Entry>, Option<Entry>, &str)> = vec![
        (own(), file(|_| ()), "planned 1 and 0"),
        (own(), entry(|_| ()), "planned 0 and 0"),
        (entry(|entry| entry.unapplied = true), entry(|_| ()), "planned 0 and 1"),
        (
            own(),
            file(|entry| entry.unapplied = true),
            "is not loaded by the balancer there: reload that first",
        ),
        (own(), file(|entry| entry.digest_only = true), "is touched by no pull: copy it by hand"),
        (
            entry(|entry| entry.digest_only = true),
            file(|_| ()),
            "is touched by no pull: copy it by hand",
        ),
        (own(), file(|entry| entry.problem = Some("no".into())), "could not be read there"),
        (entry(|entry| entry.problem = Some("no".into())), file(|_| ()), "could not be read here"),
        (own(), file(|entry| entry.size = 17 << 20), "is larger than 16777216 bytes"),
        (own(), file(|entry| entry.file = None), "has neither mode nor owner there"),
        (
            own(),
            file(|entry| entry.file.as_mut().unwrap().mode = 0o4755),
            "has mode 4755 there: copy it by hand",
        ),
        (own(), link("/etc/shadow"), "is a link to /etc/shadow, which no pattern declares there"),
        (
            own(),
            link("../../etc/shadow"),
            "is a link to ../../etc/shadow, which no pattern declares there",
        ),
        (own(), forged(), "has a digest there that is not that of its parts"),
        (removed(), None, "planned 0 and 1"),
        (removed(), file(|_| ()), "planned 1 and 0"),
        (own(), link("b"), "is a link to b, which no pattern declares there"),
    ];
    for (own, theirs, expected) in table {
        let found = refusal(&world, &name, own, theirs).replace(&format!("{} ", name.words()), "");
        assert_eq!(found, expected);
    }
    for (name, expected) in [
        (
            EntryName::Shared,
            "the shared part of vipward's own configuration is not fetched: copy the file to this node",
        ),
        (EntryName::Package("nginx".into()), "package nginx is not fetched: install that version"),
        (EntryName::Command("nginx -v".into()), "output of `nginx -v` differs, and no file does"),
    ] {
        assert_eq!(refusal(&world, &name, own(), file(|_| ())), expected);
    }
}

#[test]
fn that_are_too_much_are_refused() {
    let world = World::new();
    let many = |count: usize, size: u64| Manifest {
        entries: (0..count)
            .map(|number| {
                let name = EntryName::File(format!("{}/{number}", world.root()));
                (name, entry(|entry| entry.size = size).unwrap())
            })
            .collect(),
    };
    for (count, size, fits) in
        [(20_000, 1, true), (20_001, 1, false), (16, 16 << 20, true), (17, 16 << 20, false)]
    {
        let plan = Plan::new(&Manifest::default(), &many(count, size), &world.settings());
        assert_eq!(plan.is_ok(), fits, "{count} files of {size} bytes");
    }
}

#[test]
fn a_refusal_names_the_first_entries() {
    let world = World::new();
    let there = Manifest {
        entries: (0..7)
            .map(|number| (EntryName::File(format!("/x/{number}\x1b")), entry(|_| ()).unwrap()))
            .collect(),
    };
    let refusal = Plan::new(&Manifest::default(), &there, &world.settings()).unwrap_err();
    assert_eq!(refusal.total, 7);
    let told = refusal.to_string();
    assert!(told.contains("file /x/4\\x1b matches no declared pattern; and 2 more"), "{told}");
}

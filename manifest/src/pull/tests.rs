//! One pull, and every reason not to make it.

use std::fs;

use super::fixture::{World, directories, example, files, link, write};
use super::*;
use crate::{EntryName, compare};

fn text(world: &World, path: &str) -> String {
    fs::read_to_string(world.own().join(path)).unwrap()
}

#[test]
fn makes_this_node_equal_and_keeps_its_own_lines() {
    // Given a node with last month's files,
    let world = example();
    let theirs = world.scan(&world.theirs());
    // when all stages are gone through,
    let mut swapped = world.swap().unwrap();
    swapped.reloading().unwrap();
    swapped.verify(&world.scan(&world.own())).unwrap();
    swapped.commit().unwrap();
    // then it is equal, but for its own lines, and nothing is left beside.
    assert_eq!(compare(&world.scan(&world.own()), &theirs), []);
    assert_eq!(text(&world, "nginx.conf"), "#node lb-b\nworkers 4;\nend\n");
    assert_eq!(text(&world, "conf.d/new/deep.conf"), "new\n#node lb-b\n");
    world.assert_clean();
    // What it replaced is kept.
    let kept = world.state().join("pull/previous/files").join(world.root().trim_start_matches('/'));
    assert_eq!(fs::read_to_string(kept.join("conf.d/old.conf")).unwrap(), "old\n");
    assert_eq!(
        fs::read_to_string(kept.join("nginx.conf")).unwrap(),
        "workers 2;\n#node lb-b\nend\n"
    );
    // And there is nothing more to do.
    assert!(world.plan().is_empty());
}

#[test]
fn a_rollback_brings_everything_back_as_it_was() {
    for reloaded in [false, true] {
        let world = example();
        let (before, made) = (files(&world.own()), directories(&world.own()));
        let mut swapped = world.swap().unwrap();
        assert_ne!(files(&world.own()), before);
        if reloaded {
            swapped.reloading().unwrap();
        }
        let back = swapped.rollback().unwrap();
        assert_eq!(back, RolledBack { reload: reloaded, displaced: vec![] });
        assert_eq!((files(&world.own()), directories(&world.own())), (before, made));
        // A reload is owed until it is done.
        if reloaded {
            assert_eq!(recover(&world.state()).unwrap(), Recovered::RolledBack(back));
            settled(&world.state()).unwrap();
        }
        assert_eq!(recover(&world.state()).unwrap(), Recovered::Nothing);
        world.assert_clean();
    }
}

#[test]
fn dropped_at_any_stage_everything_is_as_it_was() {
    let world = example();
    let before = files(&world.own());
    let mut staging = Staging::begin(world.plan(), world.setup()).unwrap();
    let first = staging.wanted().remove(0);
    staging.add(&first.name, &world.fetch(&first.name)).unwrap();
    drop(staging);
    world.assert_clean();
    drop(world.swap().unwrap());
    world.assert_clean();
    assert_eq!(files(&world.own()), before);
}

#[test]
fn a_second_pull_does_not_begin_before_the_first_is_brought_to_an_end() {
    let world = example();
    std::mem::forget(world.swap().unwrap());
    let Err(refused) = Staging::begin(world.plan(), world.setup()) else { panic!("it began") };
    assert!(refused.to_string().starts_with("an earlier pull was not finished"));
    assert!(matches!(recover(&world.state()).unwrap(), Recovered::RolledBack(_)));
    world.swap().unwrap().commit().unwrap();
}

#[test]
fn what_is_not_as_named_is_refused() {
    let world = example();
    let before = files(&world.own());
    // A wrong content.
    let mut staging = Staging::begin(world.plan(), world.setup()).unwrap();
    let wanted = staging.wanted().remove(0);
    let refused = staging.add(&wanted.name, b"something else").unwrap_err().to_string();
    assert!(refused.ends_with("is not what the manifest names"), "{refused}");
    assert!(staging.add(&wanted.name, &world.fetch(&wanted.name)).is_err());
    world.assert_clean();
    // A content that was not asked for, or none.
    let mut staging = Staging::begin(world.plan(), world.setup()).unwrap();
    let name = EntryName::File("/etc/shadow".to_owned());
    let refused = staging.add(&name, b"").unwrap_err().to_string();
    assert_eq!(refused, "file /etc/shadow was not asked for");
    let Err(refused) = staging.finish() else { panic!("it finished") };
    assert!(refused.to_string().ends_with("was not fetched"), "{refused}");
    assert_eq!(files(&world.own()), before);
    world.assert_clean();
}

#[test]
fn node_specific_lines_that_cannot_be_matched_are_a_refusal() {
    let world = World::new();
    write(&world.own(), "a", "#node lb-b\n#node too\n", 0o644);
    write(&world.theirs(), "a", "new\n#node lb-a\n", 0o644);
    let Err(refused) = world.swap() else { panic!("it swapped") };
    assert!(refused.to_string().contains("1 node-specific lines there and 2 here"), "{refused}");
    world.assert_clean();
}

#[test]
fn verify_says_what_still_differs() {
    let world = example();
    let swapped = world.swap().unwrap();
    write(&world.own(), "mime.types", "other\n", 0o644);
    let refused = swapped.verify(&world.scan(&world.own())).unwrap_err().to_string();
    assert!(refused.starts_with("after the pull 1 entries still differ: file "), "{refused}");
}

mod plans {
    use super::*;
    use crate::{Entry, FileFacts, Hash, Manifest};

    /// What the plan says when only `theirs` has the entry, or `own` and `theirs` do.
    fn refusal(
        world: &World,
        name: &EntryName,
        own: Option<Entry>,
        theirs: Option<Entry>,
    ) -> String {
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
            (format!("{root}/{STAGING}/0"), "is no path that is fetched"),
            (format!("{root}/cert.key"), "never travels: copy it by hand"),
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
            (own(), file(|entry| entry.digest_only = true), "never travels: copy it by hand"),
            (
                entry(|entry| entry.digest_only = true),
                file(|_| ()),
                "never travels: copy it by hand",
            ),
            (own(), file(|entry| entry.problem = Some("no".into())), "could not be read there"),
            (
                entry(|entry| entry.problem = Some("no".into())),
                file(|_| ()),
                "could not be read here",
            ),
            (own(), file(|entry| entry.size = 17 << 20), "is larger than 16777216 bytes"),
            (own(), file(|entry| entry.file = None), "has neither mode nor owner there"),
            (
                own(),
                file(|entry| entry.file.as_mut().unwrap().mode = 0o4755),
                "has mode 4755 there: copy it by hand",
            ),
            (
                own(),
                link("/etc/shadow"),
                "is a link to /etc/shadow, which no pattern declares there",
            ),
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
            let found =
                refusal(&world, &name, own, theirs).replace(&format!("{} ", name.words()), "");
            assert_eq!(found, expected);
        }
        for (name, expected) in [
            (
                EntryName::Shared,
                "the shared part of vipward's own configuration is not fetched: copy the file to this node",
            ),
            (
                EntryName::Package("nginx".into()),
                "package nginx is not fetched: install that version",
            ),
            (
                EntryName::Command("nginx -v".into()),
                "output of `nginx -v` differs, and no file does",
            ),
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
}

mod meanwhile {
    use super::*;

    /// Whatever somebody else does between comparing and exchanging stays, and nothing else
    /// changes.
    #[test]
    fn a_change_of_somebody_else_is_never_overwritten() {
        let replace = |world: &World, path: &str, content: &str| {
            write(&world.own(), "editor.tmp", content, 0o644);
            fs::rename(world.own().join("editor.tmp"), world.own().join(path)).unwrap();
        };
        type Change<'a> = (&'a str, &'a dyn Fn(&World));
        let changes: [Change<'_>; 8] = [
            ("an editor saves a replaced file", &|world| replace(world, "nginx.conf", "edited\n")),
            ("it is written in place", &|world| {
                write(&world.own(), "nginx.conf", "edited\n", 0o644)
            }),
            ("its mode changes", &|world| {
                write(&world.own(), "nginx.conf", "workers 2;\n#node lb-b\nend\n", 0o600);
            }),
            ("it is removed", &|world| fs::remove_file(world.own().join("nginx.conf")).unwrap()),
            ("it becomes a directory", &|world| {
                fs::remove_file(world.own().join("nginx.conf")).unwrap();
                fs::create_dir(world.own().join("nginx.conf")).unwrap();
            }),
            ("a removed file is edited", &|world| replace(world, "conf.d/old.conf", "edited\n")),
            ("a new file exists", &|world| write(&world.own(), "conf.d/new.conf", "edited", 0o644)),
            ("a link leads elsewhere", &|world| {
                fs::remove_file(world.own().join("changed")).unwrap();
                link(&world.own(), "changed", "elsewhere");
            }),
        ];
        for (what, change) in changes {
            let world = example();
            let mut edited = None;
            let swapped = world.swap_after(|| {
                change(&world);
                edited = Some((files(&world.own()), directories(&world.own())));
            });
            let Err(PullError::Refused(told)) = swapped else { panic!("not refused: {what}") };
            assert!(told.contains("was changed by somebody else after"), "{what}: {told}");
            world.assert_clean();
            let after = (files(&world.own()), directories(&world.own()));
            assert_eq!(Some(after), edited, "{what}");
        }
    }

    #[test]
    fn a_change_between_scan_and_staging_is_refused_too() {
        let world = example();
        let plan = world.plan();
        write(&world.own(), "nginx.conf", "edited\n", 0o644);
        let mut staging = Staging::begin(plan, world.setup()).unwrap();
        let name = EntryName::File(format!("{}/nginx.conf", world.root()));
        let refused = staging.add(&name, &world.fetch(&name)).unwrap_err();
        assert!(refused.to_string().contains("was changed by somebody else"), "{refused}");
        world.assert_clean();
    }

    /// An edit of the new files, before they are rolled back: the old ones come back, and the
    /// edit is kept.
    #[test]
    fn an_edit_of_the_new_files_survives_their_rollback() {
        let world = example();
        let before = files(&world.own());
        let swapped = world.swap().unwrap();
        write(&world.own(), "nginx.conf", "edited\n", 0o644);
        write(&world.own(), "conf.d/old.conf", "again\n", 0o644);
        fs::remove_file(world.own().join("linked")).unwrap();
        fs::remove_file(world.own().join("conf.d/new.conf")).unwrap();
        write(&world.own(), "conf.d/new.conf", "other\n", 0o644);
        let back = swapped.rollback().unwrap();
        let path = |name: &str| format!("{}/{name}", world.root());
        let mut displaced = back.displaced.clone();
        displaced.sort();
        assert_eq!(
            displaced,
            [path("conf.d/new.conf"), path("conf.d/old.conf"), path("nginx.conf")]
        );
        assert_eq!(files(&world.own()), before);
        let kept = world.state().join("pull/displaced/files");
        let kept = kept.join(world.root().trim_start_matches('/')).join("nginx.conf");
        assert_eq!(fs::read_to_string(kept).unwrap(), "edited\n");
        world.assert_clean();
    }

    #[test]
    fn never_follows_a_link_out() {
        let world = World::new();
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "x.conf", "precious\n", 0o644);
        write(&world.own(), "conf.d/x.conf", "old\n", 0o644);
        write(&world.theirs(), "conf.d/x.conf", "new\n", 0o644);
        write(&world.theirs(), "conf.d/y.conf", "new\n", 0o644);
        let lead_out = || {
            fs::rename(world.own().join("conf.d"), world.own().join("moved")).unwrap();
            std::os::unix::fs::symlink(outside.path(), world.own().join("conf.d")).unwrap();
        };
        // A directory becomes a link to the outside just before the exchange,
        let Err(refused) = world.swap_after(lead_out) else { panic!("it swapped") };
        assert!(refused.to_string().starts_with("cannot put "), "{refused}");
        assert_eq!(fs::read_to_string(outside.path().join("x.conf")).unwrap(), "precious\n");
        assert!(!outside.path().join("y.conf").exists());
        world.assert_clean();
        // or becomes one after the plan was made,
        fs::remove_file(world.own().join("conf.d")).unwrap();
        fs::rename(world.own().join("moved"), world.own().join("conf.d")).unwrap();
        let plan = world.plan();
        lead_out();
        let mut staging = Staging::begin(plan, world.setup()).unwrap();
        let name = staging.wanted().remove(0).name;
        let refused = staging.add(&name, b"new\n").unwrap_err();
        assert!(refused.to_string().contains("without following links"), "{refused}");
        // or was one from the beginning.
        let (own, theirs) = (world.scan(&world.own()), world.scan(&world.theirs()));
        let refused = Plan::new(&own, &theirs, &world.settings()).unwrap_err().to_string();
        assert!(refused.contains("x.conf lies behind a link, file "), "{refused}");
        assert_eq!(files(outside.path()).len(), 1);
        world.assert_clean();
    }

    #[test]
    fn a_staging_directory_that_leads_out_is_not_followed() {
        let world = example();
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "0", "precious\n", 0o644);
        let plan = world.plan();
        std::os::unix::fs::symlink(outside.path(), world.own().join(STAGING)).unwrap();
        assert!(Staging::begin(plan, world.setup()).is_err());
        assert_eq!(files(outside.path()).len(), 1);
    }
}

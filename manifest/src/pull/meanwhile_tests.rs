//! Somebody else at work on the same files.

use std::fs;

use super::fixture::{World, directories, example, files, link, write};
use super::*;
use crate::EntryName;

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
        ("it is written in place", &|world| write(&world.own(), "nginx.conf", "edited\n", 0o644)),
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
    assert_eq!(displaced, [path("conf.d/new.conf"), path("conf.d/old.conf"), path("nginx.conf")]);
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

//! A pull that is killed at every step, and recovered: the tree is the old one or the new one.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use super::fixture::{Kept, World, directories, example_in, files};
use super::*;
use crate::compare;

/// How the pull ends that is killed on its way.
const WAYS: [&str; 3] = ["commit", "rollback", "rollback after reload"];

/// What the example's pull replaces or removes, and keeps.
const REPLACED: [&str; 6] = [
    "changed",
    "conf.d/old.conf",
    "linked",
    "nginx.conf",
    "sites-available/shop",
    "sites-enabled/gone",
];

/// Stands for the balancer: which tree it has loaded.
fn load(world: &World, tree: &str) {
    fs::write(world.base.join("loaded"), tree).unwrap();
}

/// What the killed process does.
#[test]
#[ignore = "the other tests here run it, in a process of its own"]
fn child() {
    let world = World::at(Path::new(&env::var("VIPWARD_PULL_WORLD").unwrap()));
    let way = env::var("VIPWARD_PULL_WAY").unwrap();
    if way == "recover" {
        let recovered = recover(&world.state()).unwrap();
        if matches!(recovered, Recovered::RolledBack(RolledBack { reload: true, .. })) {
            load(&world, "old");
            settled(&world.state()).unwrap();
        }
        return;
    }
    let mut swapped = world.swap().unwrap();
    if way != "rollback" {
        swapped.reloading().unwrap();
        load(&world, "new");
    }
    if way == "commit" {
        swapped.commit().unwrap();
    } else if swapped.rollback().unwrap().reload {
        load(&world, "old");
        settled(&world.state()).unwrap();
    }
}

/// Runs the child until its n-th step. Whether it was killed there.
fn is_killed(world: &World, way: &str, at: u64) -> bool {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "pull::kill_tests::child", "--ignored", "--quiet"])
        .env("VIPWARD_PULL_WORLD", &world.base)
        .env("VIPWARD_PULL_WAY", way)
        .env("VIPWARD_PULL_DIE_AT", at.to_string())
        .output()
        .unwrap();
    let killed = status.status.signal() == Some(9);
    let told = String::from_utf8_lossy(&status.stdout);
    assert!(killed || status.status.success(), "{way}, killed at {at}: {told}");
    killed
}

/// The tree as it was before.
struct Before {
    files: std::collections::BTreeMap<String, Kept>,
    directories: Vec<String>,
}

impl Before {
    fn of(world: &World) -> Self {
        load(world, "old");
        Self { files: files(&world.own()), directories: directories(&world.own()) }
    }
}

/// Entirely old or entirely new, loaded by the balancer, nothing left. Which of the two.
fn assert_whole(world: &World, before: &Before, what: &str) -> &'static str {
    let old = files(&world.own()) == before.files;
    let new = compare(&world.scan(&world.own()), &world.scan(&world.theirs())).is_empty();
    assert!(old || new, "{what}: neither old nor new: {:#?}", files(&world.own()));
    if old {
        assert_eq!(directories(&world.own()), before.directories, "{what}");
    }
    let tree = if old { "old" } else { "new" };
    world.assert_clean();
    if new {
        let kept = world.state().join("pull/previous/files");
        let kept = files(&kept.join(world.root().trim_start_matches('/')));
        let content = |kept: &Kept| kept.content.clone();
        for (path, file) in
            before.files.iter().filter(|(path, _)| REPLACED.contains(&path.as_str()))
        {
            assert_eq!(kept.get(path).map(content), Some(file.content.clone()), "{what}: {path}");
        }
    }
    let loaded = fs::read_to_string(world.base.join("loaded")).unwrap();
    assert_eq!(loaded, tree, "{what}: the balancer has loaded another tree");
    tree
}

#[test]
fn killed_at_every_step_the_tree_is_whole() {
    for way in WAYS {
        let mut outcomes = Vec::new();
        for at in 1.. {
            let world = example_in(World::in_memory());
            let before = Before::of(&world);
            if !is_killed(&world, way, at) {
                break;
            }
            let recovered = recover(&world.state()).unwrap();
            if let Recovered::RolledBack(back) = &recovered {
                assert_eq!(back.displaced, Vec::<String>::new());
                if back.reload {
                    load(&world, "old");
                    settled(&world.state()).unwrap();
                }
            }
            let tree = assert_whole(&world, &before, &format!("{way}, killed at {at}"));
            match recovered {
                Recovered::RolledBack(_) => assert_eq!(tree, "old"),
                Recovered::Kept => assert_eq!(tree, "new"),
                Recovered::Nothing | Recovered::Cleaned => {}
            }
            assert_eq!(recover(&world.state()).unwrap(), Recovered::Nothing);
            outcomes.push(tree);
        }
        println!("{way}: killed at {} steps", outcomes.len());
        // First it is the old tree, and from one step on the new: there is no way back and forth.
        outcomes.dedup();
        let expected: &[&str] = if way == "commit" { &["old", "new"] } else { &["old"] };
        assert_eq!(outcomes, expected, "{way}");
    }
}

/// The recovery is killed at its first step, then at its second, and so on, until it gets through.
#[test]
fn killed_while_it_recovers_the_tree_is_whole() {
    for way in WAYS {
        for at in 1.. {
            let world = example_in(World::in_memory());
            let before = Before::of(&world);
            if !is_killed(&world, way, at) {
                break;
            }
            let mut recovery = 1;
            while is_killed(&world, "recover", recovery) {
                recovery += 1;
            }
            assert_whole(&world, &before, &format!("{way}, killed at {at}, and while recovering"));
        }
    }
}

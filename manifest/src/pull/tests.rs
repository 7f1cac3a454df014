//! One pull, from its plan to its end.

use std::fs;

use super::fixture::{World, directories, example, files, write};
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

/// What is on disk is right, and the balancer has only to load it.
#[test]
fn a_plan_without_files_goes_through_the_same_stages() {
    let world = example();
    let theirs = world.scan(&world.own());
    let mut own = theirs.clone();
    own.entries.values_mut().skip(1).take(2).for_each(|entry| entry.unapplied = true);
    let plan = Plan::new(&own, &theirs, &world.settings()).unwrap();
    assert!(plan.is_empty() && !plan.follows().is_empty());
    let mut swapped =
        Staging::begin(plan, world.setup()).unwrap().finish().unwrap().swap().unwrap();
    swapped.reloading().unwrap();
    assert!(swapped.verify(&own).is_err());
    swapped.verify(&theirs).unwrap();
    swapped.commit().unwrap();
    world.assert_clean();
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

/// `cargo test --release -p vipward-manifest ten_thousand -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: it prints, and judges nothing"]
#[allow(clippy::disallowed_methods)] // Only for its own stopwatch.
fn ten_thousand_files() {
    use std::time::Instant;
    let world = World::new();
    for number in 0..10_000 {
        let path = format!("{:02}/{number}.conf", number % 100);
        write(&world.own(), &path, &format!("old {number}\n").repeat(400), 0o644);
        write(&world.theirs(), &path, &format!("new {number}\n").repeat(400), 0o644);
    }
    let (own, theirs) = (world.scan(&world.own()), world.scan(&world.theirs()));
    let mut at = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:?}", at.elapsed());
        at = Instant::now();
    };
    assert_eq!(compare(&own, &theirs).len(), 10_000);
    lap("compare");
    let plan = Plan::new(&own, &theirs, &world.settings()).unwrap();
    lap("plan");
    let mut staging = Staging::begin(plan, world.setup()).unwrap();
    for wanted in staging.wanted() {
        staging.add(&wanted.name, &world.fetch(&wanted.name)).unwrap();
    }
    lap("stage");
    let staged = staging.finish().unwrap();
    lap("make durable");
    let mut swapped = staged.swap().unwrap();
    lap("exchange");
    swapped.reloading().unwrap();
    swapped.commit().unwrap();
    lap("commit");
}

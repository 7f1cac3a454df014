//! Random trees: a pull makes them equal or changes nothing, a rollback brings back what was.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::fixture::{World, directories, files, link, write};
use super::*;
use crate::compare;

/// A file's text, or where a link leads.
#[derive(Clone, Debug)]
enum Made {
    File { lines: Vec<u8>, node_line: Option<usize>, mode: u32, ended: bool },
    Link(&'static str),
}

const PATHS: [&str; 8] = ["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "f/g/a", "z"];

fn made() -> impl Strategy<Value = Made> {
    let file = (
        prop::collection::vec(0..4_u8, 0..5),
        prop::option::weighted(0.9, 0..4_usize),
        prop::sample::select(vec![0o644, 0o600, 0o755, 0o444]),
        any::<bool>(),
    );
    prop_oneof![
        8 => file.prop_map(|(lines, node_line, mode, ended)| Made::File { lines, node_line, mode, ended }),
        1 => prop::sample::select(vec!["a", "d/a"]).prop_map(Made::Link),
    ]
}

fn tree() -> impl Strategy<Value = Vec<Option<Made>>> {
    prop::collection::vec(prop::option::weighted(0.7, made()), PATHS.len())
}

fn build(tree: &Path, node: &str, made: &[Option<Made>]) {
    for (path, made) in PATHS.iter().zip(made) {
        match made {
            None => {}
            Some(Made::Link(text)) if !path.contains('/') && path != text => link(tree, path, text),
            Some(Made::Link(text)) => write(tree, path, text, 0o644),
            Some(Made::File { lines, node_line, mode, ended }) => {
                let mut text: Vec<String> =
                    lines.iter().map(|line| format!("line {line}")).collect();
                if let Some(at) = node_line {
                    text.insert((*at).min(text.len()), format!("#node {node} of {path}"));
                }
                let ended = if *ended && !text.is_empty() { "\n" } else { "" };
                write(tree, path, &(text.join("\n") + ended), *mode);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_pull_makes_equal_or_changes_nothing(own in tree(), theirs in tree(), commit: bool, reload: bool) {
        let world = World::in_memory();
        build(&world.own(), "lb-b", &own);
        build(&world.theirs(), "lb-a", &theirs);
        let before = (files(&world.own()), directories(&world.own()));
        let wanted = world.scan(&world.theirs());
        let plan = Plan::new(&world.scan(&world.own()), &wanted, &world.settings());
        let swapped = plan.is_ok().then(|| world.swap());
        let changed = match swapped {
            Some(Ok(mut swapped)) => {
                prop_assert_eq!(compare(&world.scan(&world.own()), &wanted), []);
                if reload {
                    swapped.reloading().unwrap();
                }
                if commit {
                    swapped.commit().unwrap();
                } else {
                    swapped.rollback().unwrap();
                    settled(&world.state()).unwrap();
                }
                commit
            }
            Some(Err(PullError::Refused(told))) => {
                prop_assert!(told.contains("node-specific lines") || told.contains("own lines"), "{told}");
                false
            }
            Some(Err(error)) => return Err(TestCaseError::fail(error.to_string())),
            None => false,
        };
        world.assert_clean();
        if changed {
            prop_assert_eq!(compare(&world.scan(&world.own()), &wanted), []);
            // Its own lines are still its own.
            for (path, _) in files(&world.own()) {
                let text = fs::read_to_string(world.own().join(path)).unwrap_or_default();
                prop_assert!(!text.contains("lb-a"), "{}", text);
            }
        } else {
            prop_assert_eq!((files(&world.own()), directories(&world.own())), before);
        }
    }
}

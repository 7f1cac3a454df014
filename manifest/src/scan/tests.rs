use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;
use crate::{Refused, Shared, Variables, Wanted, content};

/// A directory with files, and what is said about it.
struct Tree {
    directory: tempfile::TempDir,
    wanted: Wanted,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        // In memory: many small files on a busy disk would take their time.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let wanted = Wanted {
            files: vec![format!("{}/**/*", directory.path().display())],
            ignore: Vec::new(),
            digest_only: Vec::new(),
            pid_file: None,
            variables: Variables { node: "lb-a".to_owned(), links: Vec::new() },
        };
        let tree = Self { directory, wanted };
        files.iter().for_each(|(name, text)| tree.write(name, text));
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> EntryName {
        EntryName::File(self.path(name).display().to_string())
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::parse(&self.wanted).unwrap()
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(self.settings())
    }

    fn scan(&self) -> Manifest {
        self.scanner().scan(&Outside::default())
    }

    fn entry(&self, name: &str) -> Entry {
        self.scan().entries.get(&self.name(name)).unwrap_or_else(|| panic!("{name}")).clone()
    }

    /// The files of a manifest by their names here.
    fn names(&self, manifest: &Manifest) -> Vec<String> {
        let root = format!("{}/", self.directory.path().display());
        let short = |name: &EntryName| match name {
            EntryName::File(path) => Some(path.strip_prefix(&root).unwrap_or("").to_owned()),
            EntryName::Shared | EntryName::Command(_) | EntryName::Package(_) => None,
        };
        manifest.entries.keys().filter_map(short).collect()
    }
}

/// Something that befalls a tree.
type Change<'a> = &'a dyn Fn(&Tree);

#[test]
fn what_is_compared_of_a_file() {
    let change: [(&str, Change<'_>, bool); 8] = [
        ("nothing", &|_| {}, true),
        ("the time", &|tree| tree.write("a", "one"), true),
        ("the content", &|tree| tree.write("a", "two"), false),
        ("an empty content", &|tree| tree.write("a", ""), false),
        (
            "the mode",
            &|tree| {
                fs::set_permissions(tree.path("a"), fs::Permissions::from_mode(0o600)).unwrap();
            },
            false,
        ),
        ("a new file", &|tree| tree.write("deep/b", ""), false),
        ("an empty directory", &|tree| fs::create_dir(tree.path("empty")).unwrap(), true),
        ("the file removed", &|tree| fs::remove_file(tree.path("a")).unwrap(), false),
    ];
    for (what, change, equal) in change {
        let tree = Tree::new(&[("a", "one")]);
        let mut scanner = tree.scanner();
        let before = scanner.scan(&Outside::default());
        change(&tree);
        let after = scanner.scan(&Outside::default());
        assert_eq!(before.digest() == after.digest(), equal, "{what}");
        assert_eq!(after, tree.scan(), "{what}: what is remembered is what there is");
    }
}

#[test]
fn owners_are_compared_by_name() {
    let tree = Tree::new(&[("a", "one")]);
    let facts = tree.entry("a").file.unwrap();
    assert_eq!((facts.owner.as_str(), facts.group.as_str()), ("root", "root"), "tests run as root");
    std::os::unix::fs::chown(tree.path("a"), Some(1), Some(54_321)).unwrap();
    let changed = tree.entry("a").file.unwrap();
    assert_eq!((changed.owner.as_str(), changed.group.as_str()), ("daemon", "54321"));
}

#[test]
fn links_are_followed_and_shown() {
    let tree = Tree::new(&[("available/a", "one"), ("other/a", "one"), ("modules/m", "m")]);
    symlink("../available/a", tree.path("other/link")).unwrap();
    symlink("../modules", tree.path("other/modules")).unwrap();
    symlink("nowhere", tree.path("other/dangling")).unwrap();
    symlink("round", tree.path("other/round")).unwrap();
    symlink("..", tree.path("other/up")).unwrap();
    symlink("/dev/null", tree.path("other/null")).unwrap();
    let manifest = tree.scan();
    let names = ["dangling", "link", "modules", "modules/m", "null", "round", "up"];
    let expected: Vec<String> = names.iter().map(|name| format!("other/{name}")).collect();
    let found = tree.names(&manifest);
    for name in &expected {
        assert!(found.contains(name), "{name} is in {found:?}");
    }
    assert_eq!(found.len(), 3 + expected.len(), "{found:?}");
    assert_eq!(manifest.problems().collect::<Vec<_>>(), []);

    let link = |name: &str| manifest.entries[&tree.name(name)].file.clone().unwrap();
    assert_eq!(link("other/link").link.as_deref(), Some("../available/a"));
    assert_eq!(link("other/link").content, link("other/a").content, "the content at its end");
    assert_eq!(link("other/dangling").link.as_deref(), Some("nowhere"));

    // Where a link leads is compared, though the content there is the same.
    fs::remove_file(tree.path("other/link")).unwrap();
    symlink("../other/a", tree.path("other/link")).unwrap();
    let changed = tree.scan();
    assert_ne!(
        changed.entries[&tree.name("other/link")],
        manifest.entries[&tree.name("other/link")]
    );
    assert_ne!(changed.digest(), manifest.digest());
}

#[test]
fn a_change_at_the_end_of_a_link_is_seen() {
    let tree = Tree::new(&[("available/a", "one")]);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("b"), "b").unwrap();
    symlink(elsewhere.path().join("b"), tree.path("link")).unwrap();
    let mut scanner = tree.scanner();
    let before = scanner.scan(&Outside::default());
    fs::write(elsewhere.path().join("b"), "c").unwrap();
    assert_ne!(scanner.scan(&Outside::default()).digest(), before.digest());
}

#[test]
fn what_is_no_file_is_never_opened() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let tree = Tree::new(&[("a", "one")]);
    mknodat(CWD, tree.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("socket")).unwrap();
    let manifest = tree.scan();
    assert_eq!(tree.names(&manifest), ["a", "pipe", "socket"]);
    assert_eq!(manifest.problems().count(), 0);
    let pipe = &manifest.entries[&tree.name("pipe")];
    let socket = &manifest.entries[&tree.name("socket")];
    assert!(pipe.digest_only && socket.digest_only);
    assert_ne!(pipe.file.as_ref().unwrap().content, socket.file.as_ref().unwrap().content);
    fs::remove_file(tree.path("pipe")).unwrap();
    tree.write("pipe", "");
    assert_ne!(tree.scan().digest(), manifest.digest(), "an empty file is something else");
}

#[test]
fn a_problem_makes_a_node_differ_from_every_other() {
    let tree = Tree::new(&[("a", "one")]);
    symlink("/proc/self/mem", tree.path("broken")).unwrap();
    let other = Wanted {
        variables: Variables { node: "lb-b".to_owned(), links: Vec::new() },
        ..tree.wanted.clone()
    };
    let scan = || Scanner::new(Settings::parse(&other).unwrap()).scan(&Outside::default());
    let (here, there) = (tree.scan(), scan());
    let problems: Vec<_> = here.problems().collect();
    let sentence = "it could not be read: Input/output error (os error 5)";
    assert_eq!(problems, [(&tree.name("broken"), sentence)]);
    assert_ne!(here.digest(), there.digest());
    assert_eq!(here.digest(), tree.scan().digest(), "but not from itself");
    fs::remove_file(tree.path("broken")).unwrap();
    assert_eq!(tree.scan().digest(), scan().digest(), "without it they are equal");
}

#[test]
fn beyond_each_bound_there_is_a_problem() {
    let rows: [(&str, Change<'_>, &str); 3] = [
        (
            "large",
            &|tree| {
                fs::File::create(tree.path("large")).unwrap().set_len((16 << 20) + 1).unwrap();
            },
            "it is larger than 16 MiB",
        ),
        (
            "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d",
            &|tree| {
                fs::create_dir_all(tree.path(&"d/".repeat(40))).unwrap();
            },
            "it is deeper than 32 directories below ",
        ),
        (
            "a\\xff",
            &|tree| {
                use std::os::unix::ffi::OsStrExt as _;
                fs::write(tree.directory.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), "")
                    .unwrap();
            },
            "its name is not UTF-8: ",
        ),
    ];
    for (name, make, expected) in rows {
        let tree = Tree::new(&[("a", "one")]);
        make(&tree);
        let manifest = tree.scan();
        let problem =
            manifest.entries.get(&tree.name(name)).and_then(|entry| entry.problem.clone());
        let problem = problem.unwrap_or_else(|| panic!("{name}: {:?}", manifest.problems().next()));
        assert!(problem.starts_with(expected), "{name}: {problem}");
    }
}

#[test]
fn too_many_files_or_bytes_are_a_problem() {
    let tree = Tree::new(&[("a", "1234"), ("b/c", "1234"), ("d", "1234")]);
    let files = "more than 2 files match: narrow the patterns, or leave some out by `!`";
    let rows = [
        (Bounds { files: 3, bytes: 12 }, None),
        (Bounds { files: 2, bytes: 12 }, Some(files)),
        (Bounds { files: 3, bytes: 11 }, Some("with it, all files have more than 11 bytes")),
    ];
    for (bounds, expected) in rows {
        let scan = || Scanner { bounds, ..tree.scanner() }.scan(&Outside::default());
        let manifest = scan();
        let problems: Vec<_> = manifest.problems().map(|(_, problem)| problem).collect();
        assert_eq!(problems, expected.into_iter().collect::<Vec<_>>(), "{bounds:?}");
        assert_eq!(scan().digest(), manifest.digest(), "always the same");
    }
    assert_eq!((BOUNDS.files, BOUNDS.bytes), (20_000, 1 << 30));
}

#[test]
fn ten_thousand_small_files_are_read_once() {
    let tree = Tree::new(&[]);
    let files = 10_000;
    for at in 0..files {
        fs::write(tree.path(&format!("{at}")), format!("{at}")).unwrap();
    }
    let mut scanner = tree.scanner();
    let first = scanner.scan(&Outside::default());
    assert_eq!(first.entries.len(), files + 1);
    // Until they have settled, they may be read again; then none is.
    std::thread::sleep(SETTLED);
    scanner.scan(&Outside::default());
    let walk = walk(&scanner.settings.files, files);
    assert_eq!(scanner.read_changed(&walk.found).len(), 0);
    assert_eq!(scanner.scan(&Outside::default()), first);
    fs::write(tree.path("77"), "changed").unwrap();
    let again = scanner.scan(&Outside::default());
    let differ = first.entries.iter().filter(|(name, entry)| again.entries[*name] != **entry);
    assert_eq!(differ.map(|(name, _)| name).collect::<Vec<_>>(), [&tree.name("77")]);
}

#[test]
fn a_change_too_quick_for_the_clock_is_seen() {
    let tree = Tree::new(&[("a", "0000")]);
    let mut scanner = tree.scanner();
    for at in 1..300 {
        tree.write("a", &format!("{at:04}"));
        let content =
            scanner.scan(&Outside::default()).entries[&tree.name("a")].file.clone().unwrap();
        assert_eq!(content.content, Hash::of(format!("{at:04}").as_bytes()));
    }
}

/// Changes, as fast as they go, until this is dropped.
fn meanwhile<T>(change: impl Fn(usize) + Sync, body: impl FnOnce() -> T) -> T {
    struct Stop<'s>(&'s std::sync::atomic::AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(&change));
        let _stop = Stop(&stop); // Also when the body fails: nobody would end the other thread.
        body()
    })
}

#[test]
fn files_that_come_and_go_while_scanning_do_no_harm() {
    let tree = Tree::new(&[("stays", "one")]);
    let change = |_| {
        tree.write("d/e/f", "x");
        symlink("d", tree.path("link")).unwrap();
        fs::remove_dir_all(tree.path("d")).unwrap();
        fs::remove_file(tree.path("link")).unwrap();
    };
    meanwhile(change, || {
        let mut scanner = tree.scanner();
        for _ in 0..300 {
            let manifest = scanner.scan(&Outside::default());
            assert!(manifest.entries.contains_key(&tree.name("stays")));
            for (name, problem) in manifest.problems() {
                assert_eq!(problem, "it keeps changing while it is read", "{name:?}");
            }
        }
    });
}

/// A file that is rewritten in place while it is read, always as large: what is read meanwhile may
/// be half of a write, but nothing of that is left when the writer has stopped.
#[test]
fn nothing_read_of_a_changing_file_is_remembered() {
    let tree = Tree::new(&[("a", "")]);
    let mut scanner = tree.scanner();
    for round in 0..20_u8 {
        let write = |at: usize| {
            let letter = b'a' + u8::try_from(at % 26).unwrap();
            let file = fs::File::options().write(true).open(tree.path("a")).unwrap();
            std::io::Write::write_all(&mut &file, &vec![letter; 128 << 10]).unwrap();
        };
        meanwhile(write, || (0..5).for_each(|_| drop(scanner.scan(&Outside::default()))));
        write(usize::from(round));
        let manifest = scanner.scan(&Outside::default());
        let facts = manifest.entries[&tree.name("a")].file.clone().unwrap();
        assert_eq!(facts.content, Hash::of(&vec![b'a' + round; 128 << 10]), "round {round}");
    }
}

#[test]
fn keys_never_travel() {
    let key = "-----BEGIN EC PRIVATE KEY-----\n";
    let tree = Tree::new(&[("a", "one"), ("key.pem", key), ("b.key", "x"), ("ssl/c", "x")]);
    let declared = format!("{}/ssl/*", tree.directory.path().display());
    let tree =
        Tree { wanted: Wanted { digest_only: vec![declared], ..tree.wanted.clone() }, ..tree };
    symlink("b.key", tree.path("link")).unwrap();
    let manifest = tree.scan();
    let outside = Outside::default();
    for (name, secret) in
        [("a", false), ("key.pem", true), ("b.key", true), ("ssl/c", true), ("link", true)]
    {
        let entry = &manifest.entries[&tree.name(name)];
        assert_eq!(entry.digest_only, secret, "{name}");
        let told = content(&tree.settings(), &outside, &manifest, &tree.name(name), entry.digest);
        assert_eq!(told == Err(Refused::DigestOnly), secret, "{name}: {told:?}");
    }
    // What became a key since the manifest was made is not told either.
    let digest = manifest.entries[&tree.name("a")].digest;
    tree.write("a", key);
    let told = content(&tree.settings(), &outside, &manifest, &tree.name("a"), digest);
    assert_eq!(told, Err(Refused::DigestOnly));
}

#[test]
fn contents_are_told_only_as_the_manifest_has_them() {
    let tree = Tree::new(&[("a", "one\n# lb-a\n"), ("gone", "x")]);
    let wanted = Wanted { ignore: vec!["# {{node}}".to_owned()], ..tree.wanted.clone() };
    let tree = Tree { wanted, ..tree };
    symlink("nowhere", tree.path("dangling")).unwrap();
    let outside = Outside {
        shared: Shared { digest: Hash::of(b"{}"), text: "{}".to_owned() },
        commands: [
            ("nginx -v".to_owned(), Ok(b"nginx 1.22\n# lb-a\n".to_vec())),
            ("hang".to_owned(), Err("it did not end within 5 s".to_owned())),
        ]
        .into(),
        packages: [("nginx".to_owned(), Ok("1.22.1-9".to_owned()))].into(),
    };
    let settings = tree.settings();
    let manifest = Scanner::new(settings.clone()).scan(&outside);
    let told = |name: &EntryName| {
        content(&settings, &outside, &manifest, name, manifest.entries[name].digest)
    };
    let command = |text: &str| EntryName::Command(text.to_owned());
    assert_eq!(told(&tree.name("a")).unwrap(), b"one\n# lb-a\n", "as it is on disk");
    assert_eq!(manifest.entries[&tree.name("a")].file.clone().unwrap().content, Hash::of(b"one\n"));
    assert_eq!(told(&EntryName::Shared).unwrap(), b"{}");
    assert_eq!(told(&command("nginx -v")).unwrap(), b"nginx 1.22\n# lb-a\n");
    assert_eq!(manifest.entries[&command("nginx -v")].digest, Hash::of(b"nginx 1.22\n"));
    assert_eq!(told(&EntryName::Package("nginx".to_owned())).unwrap(), b"1.22.1-9");
    let refused = Refused::None("it did not end within 5 s".to_owned());
    assert_eq!(told(&command("hang")), Err(refused));
    assert!(matches!(told(&tree.name("dangling")), Err(Refused::None(_))));

    tree.write("a", "two\n");
    assert_eq!(told(&tree.name("a")), Err(Refused::Changed));
    fs::remove_file(tree.path("gone")).unwrap();
    assert_eq!(told(&tree.name("gone")), Err(Refused::Gone));
    let digest = manifest.entries[&tree.name("a")].digest;
    for (name, digest, expected) in [
        (tree.name("a"), Hash::default(), Refused::Changed),
        (EntryName::File("/etc/shadow".to_owned()), digest, Refused::Gone),
        (tree.name("../../../etc/shadow"), digest, Refused::Gone),
    ] {
        assert_eq!(
            content(&settings, &outside, &manifest, &name, digest),
            Err(expected),
            "{name:?}"
        );
    }
}

#[test]
fn without_consistency_the_digest_is_that_of_the_shared_part() {
    let tree = Tree::new(&[("a", "one")]);
    let wanted = Wanted { files: Vec::new(), ..tree.wanted.clone() };
    let shared = Shared { digest: Hash::of(b"{}"), text: "{}".to_owned() };
    let outside = Outside { shared, ..Outside::default() };
    let manifest = Scanner::new(Settings::parse(&wanted).unwrap()).scan(&outside);
    assert_eq!(manifest.digest(), Hash::of(b"{}"));
}

#[test]
fn patterns_that_find_nothing_are_told() {
    let tree = Tree::new(&[]);
    let path = tree.path("absent").display().to_string();
    let wanted = Wanted { files: vec![format!("{path}/**/*")], ..tree.wanted.clone() };
    let mut scanner = Scanner::new(Settings::parse(&wanted).unwrap());
    assert_eq!(scanner.scan(&Outside::default()).problems().count(), 0);
    assert_eq!(scanner.remarks(), [format!("there is nothing at {path}")]);
}

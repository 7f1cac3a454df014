//! Two nodes' trees in a temporary directory, and a scan that is plain enough to be believed.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Plan, PullError, STAGING, Setup, Staging, Substitutions, Swapped};
use crate::{EntryName, Manifest, Outside, Rules, Scanner, Settings, Variables, Wanted};

/// Everything below a directory. Lines that begin with `#node` are dropped, `*.key` never travels.
fn settings(tree: &str, node: &str) -> Settings {
    let wanted = Wanted {
        files: vec![format!("{tree}/**/*"), format!("!{tree}/excluded/**")],
        ignore: vec!["^#node".to_owned()],
        digest_only: Vec::new(),
        pid_file: None,
        variables: Variables { node: node.to_owned(), links: Vec::new() },
    };
    Settings::parse(&wanted).unwrap()
}

pub(super) fn rules() -> Rules {
    settings("/x", "lb-b").rules
}

/// A file or a link, as it is on disk, in everything that a rollback has to bring back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    inode: u64,
}

/// Own and other tree, and a state directory.
pub(super) struct World {
    pub(super) base: PathBuf,
    _temporary: Option<TempDir>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::on(&env::temp_dir())
    }

    /// On a file system in memory, where there is one: nothing waits for a disk.
    pub(super) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::on(memory) } else { Self::new() }
    }

    fn on(directory: &Path) -> Self {
        let temporary = tempfile::tempdir_in(directory).unwrap();
        let base = temporary.path().canonicalize().unwrap();
        for name in ["own", "theirs", "state"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        Self { base, _temporary: Some(temporary) }
    }

    /// The world that another process has made.
    pub(super) fn at(base: &Path) -> Self {
        Self { base: base.to_owned(), _temporary: None }
    }

    pub(super) fn own(&self) -> PathBuf {
        self.base.join("own")
    }

    pub(super) fn theirs(&self) -> PathBuf {
        self.base.join("theirs")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.base.join("state")
    }

    pub(super) fn root(&self) -> String {
        self.own().to_str().unwrap().to_owned()
    }

    pub(super) fn settings(&self) -> Settings {
        settings(&self.root(), "lb-b")
    }

    pub(super) fn setup(&self) -> Setup {
        let variables = |node: &str| Variables { node: node.to_owned(), links: Vec::new() };
        let substitutions = Substitutions::new(&variables("lb-a"), &variables("lb-b"));
        let settings = Arc::new(self.settings());
        Setup { state: self.state(), settings, theirs: rules(), substitutions }
    }

    /// Entries of a tree, all named as if they were this node's.
    pub(super) fn scan(&self, tree: &Path) -> Manifest {
        let tree = tree.to_str().unwrap();
        let manifest = Scanner::new(settings(tree, "lb-b")).scan(&Outside::default());
        let named = |name: EntryName| match name {
            EntryName::File(path) => EntryName::File(path.replacen(tree, &self.root(), 1)),
            name @ (EntryName::Shared | EntryName::Command(_) | EntryName::Package(_)) => name,
        };
        let entries = manifest.entries.into_iter().map(|(name, entry)| (named(name), entry));
        Manifest { entries: entries.collect() }
    }

    pub(super) fn plan(&self) -> Plan {
        let (own, theirs) = (self.scan(&self.own()), self.scan(&self.theirs()));
        Plan::new(&own, &theirs, &self.settings()).unwrap()
    }

    /// What the other node sends as the file.
    pub(super) fn fetch(&self, name: &EntryName) -> Vec<u8> {
        let EntryName::File(path) = name else { panic!("{name:?} is not fetched") };
        let relative = Path::new(path).strip_prefix(self.own()).unwrap();
        fs::read(self.theirs().join(relative)).unwrap()
    }

    /// All stages until the tree is the new one.
    pub(super) fn swap(&self) -> Result<Swapped, PullError> {
        self.swap_after(|| ())
    }

    /// The same, with something that happens just before the exchange.
    pub(super) fn swap_after(&self, meanwhile: impl FnOnce()) -> Result<Swapped, PullError> {
        let mut staging = Staging::begin(self.plan(), self.setup())?;
        for wanted in staging.wanted() {
            staging.add(&wanted.name, &self.fetch(&wanted.name))?;
        }
        let staged = staging.finish()?;
        meanwhile();
        staged.swap()
    }

    /// Whether nothing of a pull is left.
    pub(super) fn assert_clean(&self) {
        assert!(!self.own().join(STAGING).exists(), "staged files are left");
        let pull = self.state().join("pull");
        let left: Vec<_> = fs::read_dir(pull).into_iter().flatten().flatten().collect();
        let known = ["previous", "displaced"];
        let unknown =
            left.iter().find(|entry| !known.contains(&entry.file_name().to_str().unwrap()));
        assert!(unknown.is_none(), "{unknown:?} is left");
    }
}

/// Writes a file with its directories.
pub(super) fn write(tree: &Path, path: &str, content: &str, mode: u32) {
    let full = tree.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(&full, content).unwrap();
    fs::set_permissions(&full, fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn link(tree: &Path, path: &str, text: &str) {
    let full = tree.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    symlink(text, full).unwrap();
}

/// All files and links of a tree, by their paths in it; staged ones are not seen.
pub(super) fn files(tree: &Path) -> BTreeMap<String, Kept> {
    let mut found = BTreeMap::new();
    let mut open = vec![tree.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                if path.file_name().unwrap() != STAGING {
                    open.push(path);
                }
                continue;
            }
            let content = match fs::read_link(&path) {
                Ok(text) => text.to_str().unwrap().as_bytes().to_vec(),
                Err(_) if about.is_file() => fs::read(&path).unwrap(),
                Err(_) => Vec::new(),
            };
            let kept = Kept {
                content,
                mode: about.mode(),
                owner: (about.uid(), about.gid()),
                modified: (about.mtime(), about.mtime_nsec()),
                inode: about.ino(),
            };
            let name = path.strip_prefix(tree).unwrap().to_str().unwrap().to_owned();
            found.insert(name, kept);
        }
    }
    found
}

/// Directories of a tree, by their paths in it.
pub(super) fn directories(tree: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![tree.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let staged = path.file_name().unwrap() == STAGING;
            if fs::symlink_metadata(&path).unwrap().is_dir() && !staged {
                found.push(path.strip_prefix(tree).unwrap().to_str().unwrap().to_owned());
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A node with last month's files, and the master's: everything that a pull can do is in it.
pub(super) fn example() -> World {
    example_in(World::new())
}

pub(super) fn example_in(world: World) -> World {
    let (own, theirs) = (world.own(), world.theirs());
    for tree in [&own, &theirs] {
        write(tree, "mime.types", "text/html\n", 0o644);
        write(tree, "sites-available/shop", "shop\n", 0o644);
        link(tree, "sites-enabled/shop", "../sites-available/shop");
    }
    write(&own, "nginx.conf", "workers 2;\n#node lb-b\nend\n", 0o644);
    write(&theirs, "nginx.conf", "#node lb-a\nworkers 4;\nend\n", 0o640);
    write(&own, "conf.d/old.conf", "old\n", 0o600);
    write(&theirs, "conf.d/new/deep.conf", "new\n#node lb-a\n", 0o644);
    write(&theirs, "conf.d/new.conf", "", 0o600);
    write(&theirs, "sites-available/shop", "shop\nmore\n", 0o644);
    link(&own, "changed", "mime.types");
    write(&theirs, "changed", "no link\n", 0o644);
    write(&own, "linked", "no link\n", 0o644);
    link(&theirs, "linked", "sites-available/shop");
    link(&own, "sites-enabled/gone", "../conf.d/old.conf");
    link(&theirs, "sites-enabled/new", "../conf.d/new.conf");
    world
}

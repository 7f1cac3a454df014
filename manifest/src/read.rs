//! Reads one file by pieces: its hash as it is compared, and whether it is a private key.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use memchr::memmem;
use rustix::fs::{Mode, OFlags};

use crate::Hash;
use crate::normalise::Rules;
use crate::stamp::Meta;

/// The largest file.
pub(crate) const LARGEST: u64 = 16 << 20;
/// How much is read at once; private keys are looked for in the first piece.
const PIECE: usize = 64 << 10;
/// How far before its last words the header of a private key may begin.
const HEADER: usize = 80;
/// How often a file that changes while it is read is begun anew.
const TRIES: usize = 4;

/// What was read.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) hash: Hash,
    /// It has a private key in it.
    pub(crate) secret: bool,
    /// How much there was, which a file of the kernel does not tell in advance.
    pub(crate) length: u64,
    pub(crate) meta: Meta,
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is not there any more.
    Gone,
    /// In one sentence.
    Problem(String),
}

/// Reads files, one after the other, with one buffer.
pub(crate) struct Reader {
    rules: Rules,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self { rules: rules.clone(), buffer: vec![0; PIECE] }
    }

    /// Reads a file. A content counts only if nothing is seen to have changed it meanwhile.
    ///
    /// The kernel dates a write by its beginning. So one that had begun when the reading did is not
    /// seen, and what was read may be half of it: whoever remembers a content must not do so while
    /// the last change is that recent.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Content, Trouble> {
        self.read_into(path, None)
    }

    /// The same, and what was read goes to `whole` as well.
    pub(crate) fn read_into(
        &mut self,
        path: &Path,
        mut whole: Option<&mut Vec<u8>>,
    ) -> Result<Content, Trouble> {
        for _ in 0..TRIES {
            if let Some(content) = self.attempt(path, whole.as_deref_mut())? {
                return Ok(content);
            }
        }
        Err(Trouble::Problem("it keeps changing while it is read".to_owned()))
    }

    /// `None`: it changed meanwhile, and what was read is of neither state.
    fn attempt(
        &mut self,
        path: &Path,
        mut whole: Option<&mut Vec<u8>>,
    ) -> Result<Option<Content>, Trouble> {
        let (mut file, meta) = open(path)?;
        if let Some(whole) = &mut whole {
            whole.clear();
        }
        let mut hasher = self.rules.hasher();
        let mut secret = false;
        let mut length = 0;
        loop {
            if meta.stamp.size.max(length) > LARGEST {
                return Err(Trouble::Problem(format!("it is larger than {} MiB", LARGEST >> 20)));
            }
            let filled = fill(&mut file, &mut self.buffer)?;
            let piece = &self.buffer[..filled];
            secret |= length == 0 && has_private_key(piece);
            hasher.update(piece);
            if let Some(whole) = &mut whole {
                whole.extend_from_slice(piece);
            }
            length += filled as u64;
            if filled < self.buffer.len() {
                break;
            }
        }
        let unchanged = Meta::from(&file.metadata()?) == meta
            && Meta::from(&path.metadata()?).stamp.is_same_file(&meta.stamp);
        Ok(unchanged.then(|| Content { hash: hasher.finish(), secret, length, meta }))
    }
}

/// Opens a file, and nothing else: what it was a moment ago it may not be any more, and opening a
/// pipe would wait for its writer.
fn open(path: &Path) -> Result<(File, Meta), Trouble> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Trouble::Problem("it was replaced by something that is no file".to_owned()));
    }
    Ok((file, Meta::from(&metadata)))
}

/// Fills the buffer as far as the file goes.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::Gone;
        }
        Self::Problem(format!("it could not be read: {error}"))
    }
}

/// Whether a private key begins here, of whatever kind: `-----BEGIN ... PRIVATE KEY-----`, or
/// `... PRIVATE KEY BLOCK-----`.
pub(crate) fn has_private_key(content: &[u8]) -> bool {
    let content = &content[..content.len().min(PIECE)];
    memmem::find_iter(content, b"PRIVATE KEY").any(|at| {
        let before = &content[at.saturating_sub(HEADER)..at];
        let line = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        memmem::find(line, b"-----BEGIN ").is_some()
    })
}

/// Whether a file of this name is taken for a private key, whatever is in it.
pub(crate) fn is_named_as_key(path: &Path) -> bool {
    const ENDINGS: [&str; 5] = ["key", "p12", "pfx", "jks", "keystore"];
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A directory that no slow disk holds up.
    fn in_memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    fn reader() -> Reader {
        Reader::new(&Rules::default())
    }

    #[test]
    fn private_keys_are_known() {
        let far = format!("{}-----BEGIN PRIVATE KEY-----", "x\n".repeat(20_000));
        let further = format!("{}-----BEGIN PRIVATE KEY-----", "x\n".repeat(40_000));
        let rows = [
            ("-----BEGIN PRIVATE KEY-----\nMIIE", true),
            ("-----BEGIN RSA PRIVATE KEY-----", true),
            ("-----BEGIN EC PRIVATE KEY-----", true),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----", true),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", true),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", true),
            ("-----BEGIN CERTIFICATE-----\nMII\n-----BEGIN PRIVATE KEY-----", true),
            (&far, true),
            (&further, false),
            ("-----BEGIN CERTIFICATE-----", false),
            ("# the PRIVATE KEY is elsewhere", false),
            ("-----BEGIN CERTIFICATE-----\n# PRIVATE KEY", false),
            ("-----BEGIN PUBLIC KEY-----", false),
        ];
        for (content, expected) in rows {
            let shown = &content[..content.len().min(60)];
            assert_eq!(has_private_key(content.as_bytes()), expected, "{shown}");
        }
        for (name, expected) in [("a.key", true), ("a.KEY", true), ("b.p12", true), ("key", false)]
        {
            assert_eq!(is_named_as_key(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_the_kernel_makes_up_is_read_to_its_end() {
        let content = reader().read(Path::new("/proc/self/cmdline")).unwrap();
        assert!(content.length > 0 && content.meta.stamp.size == 0, "{content:?}");
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_in_one_sentence() {
        let directory = in_memory();
        let file = |name: &str| directory.path().join(name);
        let large = File::create(file("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", file("broken")).unwrap();
        std::fs::create_dir(file("directory")).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, file("pipe"), pipe, Mode::RUSR, 0).unwrap();
        let rows = [
            ("large", "it is larger than 16 MiB"),
            ("broken", "it could not be read: Input/output error (os error 5)"),
            ("directory", "it was replaced by something that is no file"),
            ("pipe", "it was replaced by something that is no file"),
        ];
        for (name, expected) in rows {
            match reader().read(&file(name)) {
                Err(Trouble::Problem(sentence)) => assert_eq!(sentence, expected, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(matches!(reader().read(&file("absent")), Err(Trouble::Gone)));
    }

    #[test]
    fn the_largest_file_is_read() {
        let directory = in_memory();
        let path = directory.path().join("large");
        std::fs::write(&path, vec![b'x'; 16 << 20]).unwrap();
        let mut whole = Vec::new();
        let content = reader().read_into(&path, Some(&mut whole)).unwrap();
        assert_eq!((content.length, content.hash), (LARGEST, Hash::of(&whole)));
    }

    /// A writer that replaces a file by a rename: what is read is of one letter.
    #[test]
    fn no_mixture_of_two_files_is_ever_read() {
        const SIZE: usize = 256 << 10;
        let directory = in_memory();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![b'a'; SIZE]).unwrap();
        let whole: Vec<Hash> = (b'a'..=b'z').map(|letter| Hash::of(&vec![letter; SIZE])).collect();
        let stop = AtomicBool::new(false);
        let replace = || {
            for letter in (b'a'..=b'z').cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                std::fs::write(path.with_extension("new"), vec![letter; SIZE]).unwrap();
                std::fs::rename(path.with_extension("new"), &path).unwrap();
            }
        };
        let read = |_| match reader().read(&path) {
            Ok(content) => whole.contains(&content.hash),
            Err(Trouble::Problem(sentence)) => sentence == "it keeps changing while it is read",
            Err(Trouble::Gone) => false,
        };
        let good = std::thread::scope(|scope| {
            scope.spawn(replace);
            let good = (0..200).all(read);
            stop.store(true, Ordering::Relaxed);
            good
        });
        assert!(good, "a mixture was read, or a gap");
    }
}

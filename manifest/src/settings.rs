//! What the operator says about a node's configuration, read once and checked as a whole.

use std::path::PathBuf;

use crate::normalise::{Rules, Variables};
use crate::patterns::Patterns;

/// What the operator wrote, as text.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Patterns of files; one that begins with `!` takes out what it matches.
    pub files: Vec<String>,
    /// Regular expressions of lines to drop before hashing.
    pub ignore: Vec<String>,
    /// Patterns of files whose content never travels.
    pub digest_only: Vec<String>,
    /// The file in which the balancer leaves its process id. `None`: what is on disk is taken to
    /// be applied.
    pub pid_file: Option<PathBuf>,
    /// This node's name and links.
    pub variables: Variables,
}

/// What the operator says about a node's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The files to look for.
    pub files: Patterns,
    /// The lines that are not compared.
    pub rules: Rules,
    /// The files whose content never travels.
    pub digest_only: Patterns,
    /// The balancer's pid file.
    pub pid_file: Option<PathBuf>,
    /// This node's name: what could not be read differs from every other node's by it.
    pub node: String,
}

/// Something wrong in what the operator wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The key: `files`, `ignore`, `digest_only` or `applied.pid_file`.
    pub key: &'static str,
    /// Its place, where the key is a list.
    pub index: Option<usize>,
    /// What is wrong and what would be right.
    pub sentence: String,
}

impl Settings {
    /// Reads what the operator wrote. It looks at the text alone, so it can be done on any machine.
    ///
    /// # Errors
    /// Every mistake, at once.
    pub fn parse(wanted: &Wanted) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let files = checked("files", Patterns::parse(&wanted.files), &mut mistakes);
        let rules = Rules::parse(&wanted.ignore, &wanted.variables);
        let rules = checked("ignore", rules, &mut mistakes);
        let filter = Patterns::parse_filter(&wanted.digest_only);
        let digest_only = checked("digest_only", filter, &mut mistakes);
        if let Some(path) = &wanted.pid_file
            && !path.is_absolute()
        {
            let sentence = format!("`{}` is not an absolute path", path.display());
            mistakes.push(Mistake { key: "applied.pid_file", index: None, sentence });
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let pid_file = wanted.pid_file.clone();
        Ok(Self { files, rules, digest_only, pid_file, node: wanted.variables.node.clone() })
    }
}

/// The value, or its default and the mistakes noted.
fn checked<T: Default>(
    key: &'static str,
    parsed: Result<T, Vec<(usize, String)>>,
    mistakes: &mut Vec<Mistake>,
) -> T {
    parsed.unwrap_or_else(|found| {
        let mistake = |(index, sentence)| Mistake { key, index: Some(index), sentence };
        mistakes.extend(found.into_iter().map(mistake));
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_every_key_is_told_at_once() {
        let wanted = Wanted {
            files: vec!["/etc/nginx/**/*".to_owned(), "nginx.conf".to_owned()],
            ignore: vec!["(".to_owned()],
            digest_only: vec!["*.pem".to_owned()],
            pid_file: Some(PathBuf::from("nginx.pid")),
            variables: Variables { node: "lb-a".to_owned(), links: Vec::new() },
        };
        let mistakes = Settings::parse(&wanted).unwrap_err();
        let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.key, mistake.index)).collect();
        let expected = [
            ("files", Some(1)),
            ("ignore", Some(0)),
            ("digest_only", Some(0)),
            ("applied.pid_file", None),
        ];
        assert_eq!(told, expected);
    }
}

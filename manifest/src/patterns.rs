//! Which files belong to the configuration: globs of absolute paths.
//!
//! `*` and `?` stop at a `/`, `**` does not, `{a,b}` and `[ab]` are known. A pattern that begins
//! with `!` takes out what it matches.

use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::pull::STAGING;

/// So many patterns are enough for any balancer, and cheap to match.
const MOST: usize = 64;
/// What makes a component of a pattern more than a name.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

/// Patterns of files.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    wanted: GlobSet,
    unwanted: GlobSet,
    /// Directories below which something may be wanted.
    towards: GlobSet,
    /// Directories below which nothing is wanted.
    pruned: GlobSet,
    /// Where to look: the fixed beginnings of the patterns, none inside another.
    roots: Vec<PathBuf>,
}

impl Patterns {
    /// Reads patterns of files to look for.
    ///
    /// # Errors
    /// Every pattern that is none: its place in the list, and a sentence.
    pub fn parse(texts: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let mut sets = Sets::default();
        let mut mistakes = too_many(texts);
        for (index, text) in texts.iter().enumerate().take(MOST) {
            let added = match text.strip_prefix('!') {
                Some(text) => sets.unwanted(text),
                None => sets.wanted(text),
            };
            mistakes.extend(added.err().map(|sentence| (index, sentence)));
        }
        let patterns = sets.build().map_err(|error| vec![(0, error.to_string())])?;
        if mistakes.is_empty() { Ok(patterns) } else { Err(mistakes) }
    }

    /// Reads patterns that only tell files apart, such as `**/*.pem`: nothing is looked for.
    ///
    /// # Errors
    /// Every pattern that is none: its place in the list, and a sentence.
    pub fn parse_filter(texts: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let mut sets = Sets::default();
        let mut mistakes = too_many(texts);
        for (index, text) in texts.iter().enumerate().take(MOST) {
            let added = anywhere(text).map(|glob| sets.wanted.push(glob));
            mistakes.extend(added.err().map(|sentence| (index, sentence)));
        }
        let patterns = sets.build().map_err(|error| vec![(0, error.to_string())])?;
        if mistakes.is_empty() { Ok(patterns) } else { Err(mistakes) }
    }

    /// Whether a file of this path belongs to the configuration.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        self.wanted.is_match(path) && !self.unwanted.is_match(path) && !is_staged(path)
    }

    /// Where to look: directories, and files whose whole path is given.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Whether something below this directory may match.
    pub(crate) fn may_hold(&self, directory: &Path) -> bool {
        if directory.file_name().is_some_and(|name| name == STAGING) {
            // Files of a pull that are not in their place.
            return false;
        }
        let above = |root: &PathBuf| root.starts_with(directory);
        (self.towards.is_match(directory) || self.roots.iter().any(above))
            && !self.pruned.is_match(directory)
            && !is_staged(directory)
    }
}

/// Whether it is what a pull lays beside the files.
fn is_staged(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == STAGING)
}

fn too_many(texts: &[String]) -> Vec<(usize, String)> {
    let sentence = format!("there are more than {MOST} patterns: join some by `{{a,b}}` or `**`");
    if texts.len() > MOST { vec![(MOST, sentence)] } else { Vec::new() }
}

/// The sets of globs of [`Patterns`] while they are collected.
#[derive(Default)]
struct Sets {
    wanted: Vec<Glob>,
    unwanted: Vec<Glob>,
    towards: Vec<Glob>,
    pruned: Vec<Glob>,
    roots: Vec<PathBuf>,
}

impl Sets {
    fn wanted(&mut self, text: &str) -> Result<(), String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is not an absolute path"));
        }
        self.wanted.push(glob(text)?);
        let root = fixed(text);
        if root.parent().is_none() {
            let advice = "name a directory, as in /etc/nginx/**/*";
            return Err(format!("`{text}` would search the whole machine: {advice}"));
        }
        self.lead_towards(text)?;
        self.roots.push(root);
        Ok(())
    }

    fn unwanted(&mut self, text: &str) -> Result<(), String> {
        self.unwanted.push(anywhere(text)?);
        let whole = text.strip_suffix("/**").or_else(|| text.strip_suffix("/**/*"));
        if let Some(directory) = whole {
            self.pruned.push(glob(directory)?);
        }
        Ok(())
    }

    /// The directories on the way to what a pattern matches, from its fixed beginning on.
    fn lead_towards(&mut self, text: &str) -> Result<(), String> {
        let mut prefix = String::new();
        let components: Vec<&str> = text.split('/').skip(1).collect();
        for component in components.iter().take(components.len() - 1) {
            // From here on any depth is possible: a `**`, or a `/` inside of braces.
            let open = component.matches('{').count() != component.matches('}').count();
            if open || component.contains("**") {
                self.towards.push(glob(&format!("{prefix}/**"))?);
                return Ok(());
            }
            prefix = format!("{prefix}/{component}");
            self.towards.push(glob(&prefix)?);
        }
        if components.last().is_some_and(|last| last.contains("**")) {
            self.towards.push(glob(&format!("{prefix}/**"))?);
        }
        Ok(())
    }

    fn build(mut self) -> Result<Patterns, globset::Error> {
        self.roots.sort();
        self.roots.dedup_by(|inner, outer| inner.starts_with(outer));
        Ok(Patterns {
            wanted: set(&self.wanted)?,
            unwanted: set(&self.unwanted)?,
            towards: set(&self.towards)?,
            pruned: set(&self.pruned)?,
            roots: self.roots,
        })
    }
}

fn set(globs: &[Glob]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob.clone());
    }
    set.build()
}

/// A glob that need not be bound to a directory.
fn anywhere(text: &str) -> Result<Glob, String> {
    if text.starts_with('/') || text.starts_with("**/") {
        return glob(text);
    }
    Err(format!("`{text}` begins neither with / nor with **/: it would match nothing"))
}

fn glob(text: &str) -> Result<Glob, String> {
    if text.split('/').any(|component| component == "." || component == "..") {
        return Err(format!("`{text}` has . or .. in it: write the path without"));
    }
    if text.ends_with('/') || text.contains("//") {
        return Err(format!(
            "`{text}` has an empty name in it: a directory's files are `DIR/**/*`"
        ));
    }
    let mut builder = GlobBuilder::new(text);
    builder.literal_separator(true).backslash_escape(true);
    builder.build().map_err(|error| format!("`{text}` is no pattern: {}", error.kind()))
}

/// The part of a pattern before the first component that is more than a name.
fn fixed(text: &str) -> PathBuf {
    let name =
        |component: &Component<'_>| !component.as_os_str().to_string_lossy().contains(SPECIAL);
    Path::new(text).components().take_while(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Patterns::parse(&texts).unwrap()
    }

    #[test]
    fn what_matches() {
        let rows: [(&[&str], &str, bool); 16] = [
            (&["/etc/nginx/**/*"], "/etc/nginx/nginx.conf", true),
            (&["/etc/nginx/**/*"], "/etc/nginx/conf.d/deep/a.conf", true),
            (&["/etc/nginx/**/*"], "/etc/nginx-old/nginx.conf", false),
            (&["/etc/nginx/**"], "/etc/nginx/conf.d/a.conf", true),
            (&["/etc/nginx/*.conf"], "/etc/nginx/nginx.conf", true),
            (&["/etc/nginx/*.conf"], "/etc/nginx/conf.d/a.conf", false),
            (&["/etc/nginx/*"], "/etc/nginx/.hidden", true),
            (&["/etc/{nginx,haproxy}/*.{conf,cfg}"], "/etc/haproxy/haproxy.cfg", true),
            (&["/etc/{nginx/conf.d,haproxy}/*"], "/etc/nginx/conf.d/a", true),
            (&["/etc/nginx/site-[0-9].conf"], "/etc/nginx/site-7.conf", true),
            (&["/etc/nginx/a?.conf"], "/etc/nginx/a/.conf", false),
            (&["/etc/nginx/\\*.conf"], "/etc/nginx/*.conf", true),
            (&["/etc/nginx/\\*.conf"], "/etc/nginx/a.conf", false),
            (&["/etc/nginx/**/*", "!**/*~"], "/etc/nginx/nginx.conf~", false),
            (&["/etc/nginx/**/*", "!/etc/nginx/cache/**"], "/etc/nginx/cache/a/b", false),
            (&["!/etc/nginx/cache/**", "/etc/nginx/**/*"], "/etc/nginx/cache.conf", true),
        ];
        for (texts, path, expected) in rows {
            let patterns = patterns(texts);
            assert_eq!(patterns.matches(Path::new(path)), expected, "{texts:?} {path}");
            // Whatever matches is found: all directories above it are entered.
            if expected {
                for directory in Path::new(path).ancestors().skip(1) {
                    assert!(patterns.may_hold(directory), "{texts:?} enters {directory:?}");
                }
            }
        }
    }

    #[test]
    fn where_to_look() {
        let rows: [(&[&str], &[&str]); 5] = [
            (&["/etc/nginx/**/*"], &["/etc/nginx"]),
            (&["/etc/nginx/nginx.conf"], &["/etc/nginx/nginx.conf"]),
            (&["/etc/nginx/ssl/*", "/etc/nginx/**/*", "/etc/a"], &["/etc/a", "/etc/nginx"]),
            (&["/etc/{nginx,haproxy}/*"], &["/etc"]),
            (&["/etc/nginx/*", "!/etc/haproxy/*"], &["/etc/nginx"]),
        ];
        for (texts, roots) in rows {
            let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
            assert_eq!(patterns(texts).roots(), roots, "{texts:?}");
        }
    }

    #[test]
    fn where_not_to_look() {
        let rows: [(&[&str], &str, bool); 9] = [
            (&["/etc/nginx/**/*"], "/etc/nginx/.vipward-pull", false),
            (&["/etc/nginx/*.conf"], "/etc/nginx/conf.d", false),
            (&["/etc/nginx/*/*.conf"], "/etc/nginx/conf.d", true),
            (&["/etc/nginx/*/*.conf"], "/etc/nginx/conf.d/deep", false),
            (&["/srv/*/nginx/**/*"], "/srv/a/apache", false),
            (&["/srv/*/nginx/**/*"], "/srv/a/nginx/b/c/d", true),
            (&["/etc/nginx/**/*", "!/etc/nginx/cache/**"], "/etc/nginx/cache", false),
            (&["/etc/nginx/**/*", "!/etc/nginx/cache/**/*"], "/etc/nginx/cache", false),
            (&["/etc/nginx/**/*", "!/etc/nginx/cache/*"], "/etc/nginx/cache", true),
        ];
        for (texts, directory, expected) in rows {
            let found = patterns(texts).may_hold(Path::new(directory));
            assert_eq!(found, expected, "{texts:?} {directory}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let texts =
            ["etc/a", "/etc/[a", "/etc/nginx/**/*", "/**/*", "/etc/../a", "/etc/nginx/", "!a"];
        let texts = texts.map(str::to_owned);
        let mistakes = Patterns::parse(&texts).unwrap_err();
        let told: Vec<usize> = mistakes.iter().map(|(index, _)| *index).collect();
        assert_eq!(told, [0, 1, 3, 4, 5, 6], "{mistakes:?}");
        let many = vec!["/etc/nginx/*".to_owned(); MOST + 1];
        assert_eq!(Patterns::parse(&many).unwrap_err()[0].0, MOST);
    }

    #[test]
    fn a_filter_needs_no_directory() {
        let filter = |text: &str| Patterns::parse_filter(&[text.to_owned()]);
        assert!(filter("**/*.pem").unwrap().matches(Path::new("/etc/nginx/ssl/a.pem")));
        assert!(filter("/etc/nginx/ssl/*").unwrap().matches(Path::new("/etc/nginx/ssl/a")));
        assert_eq!(filter("*.pem").unwrap_err()[0].0, 0);
    }
}

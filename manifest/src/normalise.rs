//! What of a content is compared: all of it, but for the lines that the operator's rules drop,
//! because they speak of the node itself.
//!
//! A line ends with `\n`, and a `\r` before that is no part of it. One longer than [`LONGEST`] is
//! never dropped, so that a content can be read by pieces.

use std::net::IpAddr;

use regex::bytes::{RegexSet, RegexSetBuilder};
use sha2::{Digest as _, Sha256};

use crate::Hash;

/// The longest line that a rule can drop, with its `\r` and without its `\n`.
pub const LONGEST: usize = 64 << 10;
/// The most rules.
const MOST: usize = 64;
/// The most memory that the rules, compiled, may take.
const LARGEST: usize = 4 << 20;
/// An expression that nothing matches.
const NEVER: &str = r"[^\s\S]";

/// What the variables of rules stand for: one node's own name and addresses.
#[derive(Clone, Debug)]
pub struct Variables {
    /// `{{node}}`
    pub node: String,
    /// `{{link:0}}`, `{{link:1}}`, ...: the addresses of its links, without port. A link that the
    /// node does not have matches nothing, for the same rules are read by every node.
    pub links: Vec<IpAddr>,
}

/// The rules that say which lines are not compared.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Any of these drops a line. `None` if there are none, and a content is hashed as it is.
    lines: Option<RegexSet>,
}

impl Rules {
    /// Reads rules, as one node has them.
    ///
    /// # Errors
    /// Every rule that is none: its place in the list, and a sentence.
    pub fn parse(texts: &[String], variables: &Variables) -> Result<Self, Vec<(usize, String)>> {
        let mut mistakes = Vec::new();
        let mut expressions = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match substitute(text, variables)
                .and_then(|expression| compile(&[&expression]).map(|_| expression))
            {
                Ok(expression) => expressions.push(expression),
                Err(sentence) => mistakes.push((index, sentence)),
            }
        }
        if texts.len() > MOST {
            mistakes.push((MOST, format!("there are more than {MOST} rules: join some by `|`")));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if expressions.is_empty() {
            return Ok(Self { lines: None });
        }
        let lines = compile(&expressions).map_err(|sentence| vec![(0, sentence)])?;
        Ok(Self { lines: Some(lines) })
    }

    /// Whether this line is not compared. Its end (`\n`, `\r\n`) may be there or not.
    #[must_use]
    pub fn drops(&self, line: &[u8]) -> bool {
        let Some(lines) = &self.lines else { return false };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.len() <= LONGEST && lines.is_match(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The hash of a content as it is compared.
    #[must_use]
    pub fn hash(&self, content: &[u8]) -> Hash {
        let mut hasher = self.hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// The same, for a content that is read by pieces.
    #[must_use]
    pub fn hasher(&self) -> Hasher<'_> {
        Hasher { rules: self, hash: Sha256::new(), begun: Vec::new(), long: false }
    }
}

/// Hashes a content as it is compared, piece by piece.
pub struct Hasher<'r> {
    rules: &'r Rules,
    hash: Sha256,
    /// The beginning of a line whose end was not seen yet; at most [`LONGEST`].
    begun: Vec<u8>,
    /// Inside of a line that is too long to be dropped, and is hashed already.
    long: bool,
}

impl Hasher<'_> {
    /// The next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        if self.rules.lines.is_none() {
            self.hash.update(piece);
            return;
        }
        if self.long || !self.begun.is_empty() {
            piece = self.end_line(piece);
        }
        let whole = piece.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (lines, begun) = piece.split_at(whole);
        self.whole_lines(lines);
        self.begin_line(begun);
    }

    /// The hash, when all pieces were given.
    #[must_use]
    pub fn finish(mut self) -> Hash {
        if !self.rules.drops(&self.begun) {
            self.hash.update(&self.begun);
        }
        Hash(self.hash.finalize().into())
    }

    /// Hashes lines that are whole, those that stay in one go.
    fn whole_lines(&mut self, lines: &[u8]) {
        let mut kept = 0;
        let mut at = 0;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let end = at + line.len();
            if self.rules.drops(line) {
                self.hash.update(&lines[kept..at]);
                kept = end;
            }
            at = end;
        }
        self.hash.update(&lines[kept..]);
    }

    /// Takes the end of the line that was begun; what comes after it is returned.
    fn end_line<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let end = piece.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
        let (line, rest) = piece.split_at(end.unwrap_or(piece.len()));
        self.begin_line(line);
        if end.is_some() {
            let begun = std::mem::take(&mut self.begun);
            self.whole_lines(&begun);
            self.begun = begun;
            self.begun.clear();
            self.long = false;
        }
        rest
    }

    fn begin_line(&mut self, part: &[u8]) {
        let end = usize::from(part.ends_with(b"\n"));
        if !self.long && self.begun.len() + part.len() - end <= LONGEST {
            self.begun.extend_from_slice(part);
            return;
        }
        self.long = true;
        self.hash.update(&self.begun);
        self.begun.clear();
        self.hash.update(part);
    }
}

fn compile<T: AsRef<str>>(expressions: &[T]) -> Result<RegexSet, String> {
    let set = RegexSetBuilder::new(expressions).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
    set.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return "too large an expression: repeat less in it".to_owned();
        }
        // The message has several lines, with a pointer to the place; the last one says what.
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        format!("no regular expression: {}", last.trim_start_matches("error: "))
    })
}

/// The expression of a rule: its variables replaced by what they stand for, taken literally.
fn substitute(text: &str, variables: &Variables) -> Result<String, String> {
    let mut expression = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            return Err(format!("`{text}` has a {{{{ without }}}}"));
        };
        expression.push_str(before);
        expression.push_str(&value(name, variables)?);
        rest = after;
    }
    expression.push_str(rest);
    Ok(expression)
}

fn value(name: &str, variables: &Variables) -> Result<String, String> {
    if name == "node" {
        return Ok(regex::escape(&variables.node));
    }
    let link = name.strip_prefix("link:").and_then(|index| index.parse::<u8>().ok());
    let Some(link) = link else {
        let known = "{{node}}, {{link:0}}, {{link:1}} and so on are";
        return Err(format!("{{{{{name}}}}} is no variable: {known}"));
    };
    let address = variables.links.get(usize::from(link));
    Ok(address.map_or_else(|| NEVER.to_owned(), |address| regex::escape(&address.to_string())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        let links = ["10.0.1.10", "fd00::1"].map(|link| link.parse().unwrap());
        Variables { node: "lb.a".to_owned(), links: links.to_vec() }
    }

    fn parse(texts: &[&str]) -> Result<Rules, Vec<(usize, String)>> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Rules::parse(&texts, &variables())
    }

    fn rules(texts: &[&str]) -> Rules {
        parse(texts).unwrap()
    }

    /// What is left of a content, told by its hash being that of the expected text.
    fn assert_left(rules: &Rules, content: &[u8], left: &[u8]) {
        let shown = String::from_utf8_lossy(&content[content.len().saturating_sub(60)..]);
        assert_eq!(rules.hash(content), Hash::of(left), "...{shown:?}");
    }

    #[test]
    fn lines_are_dropped() {
        let rows: [(&[&str], &str, &str); 14] = [
            (&[], "a\nb\n", "a\nb\n"),
            (&["^b"], "a\nb\nc\n", "a\nc\n"),
            (&["^b"], "b\nb\n", ""),
            (&["b$"], "ab\r\nba\r\n", "ba\r\n"),
            (&["^b"], "a\nb", "a\n"),
            (&["^b"], "a\n\nb\n\n", "a\n\n\n"),
            (&["^$"], "a\n\nb\n", "a\nb\n"),
            (&["^$"], "", ""),
            (&["a", "b"], "xa\nxb\nxc\n", "xc\n"),
            (&["# {{node}}"], "# lb.a\n# lbxa\n", "# lbxa\n"),
            (
                &["listen {{link:0}}:"],
                "listen 10.0.1.10:80\nlisten 10.0.1.11:80",
                "listen 10.0.1.11:80",
            ),
            (&["\\[{{link:1}}\\]"], "listen [fd00::1]:80\n", ""),
            (&["{{link:0}}|{{link:7}}"], "10.0.1.10\nx\n\n", "x\n\n"),
            (&["^a.*z$"], "abcz\nab\ncz\n", "ab\ncz\n"),
        ];
        for (texts, content, left) in rows {
            assert_left(&rules(texts), content.as_bytes(), left.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_read_too() {
        assert_left(&rules(&["^a"]), b"\xff\xfe\na\xff\n\0\n", b"\xff\xfe\n\0\n");
    }

    #[test]
    fn too_long_a_line_stays() {
        let rules = rules(&["^a"]);
        for (end, left) in [("", ""), ("\n", ""), ("\r\n", ""), ("\nb\na\n", "b\n")] {
            let dropped = "a".repeat(LONGEST - 1);
            assert_left(&rules, format!("{dropped}{end}").as_bytes(), left.as_bytes());
            let long = "a".repeat(LONGEST + 1);
            let end_left = end.strip_suffix("a\n").unwrap_or(end);
            let left = format!("{long}{end_left}");
            assert_left(&rules, format!("{long}{end}").as_bytes(), left.as_bytes());
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mistakes =
            parse(&["(", "ok", "{{what}}", "{{node", "{{link:x}}", "(a{1000}){1000}"]).unwrap_err();
        let told: Vec<usize> = mistakes.iter().map(|(index, _)| *index).collect();
        assert_eq!(told, [0, 2, 3, 4, 5], "{mistakes:?}");
        assert!(mistakes.iter().all(|(_, sentence)| !sentence.contains('\n')), "{mistakes:?}");
        assert_eq!(mistakes[0].1, "no regular expression: unclosed group");
        assert!(parse(&["a"; MOST + 1]).is_err());
    }

    proptest! {
        /// However a content is cut, its hash is that of its lines taken one by one.
        #[test]
        fn pieces_do_not_matter(
            lines in prop::collection::vec("[ab]{0,3}\r?", 0..12),
            last in "[ab]{0,2}",
            long in prop::option::of(LONGEST - 2..LONGEST + 2),
            piece in 1..9_usize,
        ) {
            let rules = rules(&["^a", "bb$"]);
            let mut lines: Vec<String> = lines.into_iter().map(|line| line + "\n").collect();
            lines.extend(long.map(|long| "a".repeat(long) + "\n"));
            lines.push(last);
            let content = lines.concat();
            let dropped = |line: &&String| !line.is_empty() && rules.drops(line.as_bytes());
            let left: String = lines.iter().filter(|line| !dropped(line)).cloned().collect();
            let mut hasher = rules.hasher();
            let piece = if long.is_some() { piece * 20_000 } else { piece };
            content.as_bytes().chunks(piece).for_each(|piece| hasher.update(piece));
            prop_assert_eq!(hasher.finish(), Hash::of(left.as_bytes()));
        }
    }
}

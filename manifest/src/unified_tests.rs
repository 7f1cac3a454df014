//! What a person sees of two contents.

use super::*;
use crate::{EntryName, Variables};

/// Drops lines that begin with `#node`.
fn rules() -> Rules {
    let variables = Variables { node: "lb-a".to_owned(), links: Vec::new() };
    Rules::parse(&["^#node".to_owned()], &variables).unwrap()
}

fn document(kind: Kind, here: Option<&[u8]>, there: Option<&[u8]>) -> DiffDocument {
    let rules = rules();
    let nodes = Nodes { here: "lb-a", there: "lb-b", own: &rules, theirs: &rules };
    let mut document = DiffDocument::new(&nodes);
    let name = EntryName::File("/etc/nginx/nginx.conf".to_owned());
    let contents = Contents { here: here.map(<[u8]>::to_vec), there: there.map(<[u8]>::to_vec) };
    document.add(&nodes, Difference { name, kind }, Ok(contents));
    document
}

fn content(here: &[u8], there: &[u8]) -> DiffDocument {
    document(Kind::Differs(vec![Aspect::Content]), Some(here), Some(there))
}

#[test]
fn shows_a_unified_diff_with_the_nodes_names() {
    let found =
        content(b"a\nb\nc\nd\nworkers 2;\ne\nf\ng\nh\n", b"a\nb\nc\nd\nworkers 4;\ne\nf\ng\nh");
    assert_eq!(
        found.paint(false),
        "file /etc/nginx/nginx.conf differs: content\n\
         --- lb-a:/etc/nginx/nginx.conf\n\
         +++ lb-b:/etc/nginx/nginx.conf\n\
         @@ -2,8 +2,8 @@\n b\n c\n d\n-workers 2;\n+workers 4;\n e\n f\n g\n-h\n+h\n\
         \\ No newline at end of file\n"
    );
}

#[test]
fn lines_that_are_not_compared_are_counted_and_keep_their_numbers() {
    let found = content(b"#node lb-a\n#node x\na\n", b"#node lb-b\nb\n");
    assert!(
        found
            .paint(false)
            .ends_with("@@ -3,1 +2,1 @@\n-a\n+b\n(not compared: 2 lines on lb-a, 1 on lb-b)\n")
    );
    // Then nothing but them: the same.
    assert_eq!(
        content(b"#node lb-a\na\n", b"#node lb-b\na\n").entries[0].content,
        ContentDiff::Same
    );
}

#[test]
fn a_file_on_one_side_is_shown_whole() {
    let found = document(Kind::OnlyThere, None, Some(b"a\nb\n"));
    assert_eq!(
        found.paint(false),
        "file /etc/nginx/nginx.conf is only on lb-b\n\
         --- /dev/null\n+++ lb-b:/etc/nginx/nginx.conf\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    );
    let found = document(Kind::OnlyHere, Some(b"a\nb\n"), None);
    assert!(found.paint(false).ends_with("+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"));
}

#[test]
fn binary_and_huge_contents_show_their_sizes() {
    let found = content(b"\0\x01\x02", b"\0");
    assert!(
        found.paint(false).ends_with("binary contents differ: 3 bytes on lb-a, 1 bytes on lb-b\n")
    );
    let found = content(&vec![b'a'; LARGEST + 1], b"b");
    assert!(found.paint(false).contains("too large to be shown: 4194305 bytes on lb-a"));
}

#[test]
fn digest_only_says_differs_and_no_more() {
    let hidden = Kind::Differs(vec![Aspect::Hidden]);
    let found = document(hidden, Some(b"secret"), Some(b"other"));
    assert_eq!(found.paint(true).matches("secret").count(), 0);
    assert_eq!(found.paint(false), "file /etc/nginx/nginx.conf differs\n");
    assert!(!serde_json::to_string(&found).unwrap().contains("secret"));
}

#[test]
fn a_mode_has_lines_of_its_own() {
    let mode = Aspect::Mode { here: 0o644, there: 0o600 };
    let found = document(Kind::Differs(vec![mode]), Some(b"a"), Some(b"a"));
    assert_eq!(
        found.paint(false),
        "file /etc/nginx/nginx.conf differs: mode 0644 on lb-a, 0600 on lb-b\n\
         -mode 0644\n+mode 0600\n"
    );
}

#[test]
fn what_a_peer_sent_never_reaches_the_terminal_raw() {
    let found = content(b"a\n", b"\x1b]0;owned\x07\n\x1b[31mb\n\xe2\x80\xaec\n");
    let (plain, coloured) = (found.paint(false), found.paint(true));
    assert!(plain.contains("+\\x1b]0;owned\\x07\n"));
    assert!(!plain.chars().any(|character| character.is_control() && character != '\n'));
    assert!(!coloured.contains("\x1b]") && coloured.contains("\x1b[32m+\\x1b]0;"));
    // Neither does a document that was made elsewhere.
    let mut forged = found;
    forged.entries[0].sentence = "\x1b[2J".to_owned();
    assert!(!forged.paint(false).contains('\x1b'));
}

#[test]
fn the_output_is_bounded() {
    let here: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    let there: String = (0..50_000).map(|number| format!("{number}x\n")).collect();
    let found = content(here.as_bytes(), there.as_bytes());
    assert_eq!(found.entries[0].content.line_count(), MOST_LINES);
    assert!(found.paint(false).contains("… 98000 more lines are not shown"));
}

#[test]
fn the_document_survives_json() {
    let found = content(b"a\n", b"b\n");
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(
        text,
        "{\"here\":\"lb-a\",\"there\":\"lb-b\",\"equal\":false,\"entries\":[{\
         \"name\":{\"file\":\"/etc/nginx/nginx.conf\"},\
         \"kind\":{\"change\":\"differs\",\"aspects\":[{\"aspect\":\"content\"}]},\
         \"sentence\":\"file /etc/nginx/nginx.conf differs: content\",\
         \"content\":{\"shown\":\"lines\",\"hunks\":[{\"here_start\":1,\"there_start\":1,\
         \"lines\":[{\"side\":\"here\",\"text\":\"a\"},{\"side\":\"there\",\"text\":\"b\"}]}],\
         \"ignored_here\":0,\"ignored_there\":0,\"left_out\":0}}]}"
    );
    assert_eq!(serde_json::from_str::<DiffDocument>(&text).unwrap(), found);
}

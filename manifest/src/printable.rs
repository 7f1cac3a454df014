//! What a peer or a file says, made safe for a terminal: whatever could move the cursor, change
//! the colour, or turn the reading direction is shown by its number instead.

use std::fmt::Write as _;

/// Longest text of one line, in characters; what follows is counted, not shown.
const LONGEST_LINE: usize = 2_000;

/// The text with everything that a terminal would obey, rather than show, escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    printable_bytes(text.as_bytes())
}

/// The same for bytes that need not be UTF-8: what is not, is shown as `\xNN`.
#[must_use]
pub fn printable_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len().min(LONGEST_LINE));
    let mut characters = 0;
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if characters == LONGEST_LINE {
                return cut(shown, bytes.len() - taken);
            }
            push(&mut shown, character);
            characters += 1;
            taken += character.len_utf8();
        }
        for byte in chunk.invalid() {
            if characters == LONGEST_LINE {
                return cut(shown, bytes.len() - taken);
            }
            // Writing into a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
            characters += 1;
            taken += 1;
        }
    }
    shown
}

fn cut(mut shown: String, left: usize) -> String {
    let _ = write!(shown, "… ({left} more bytes)");
    shown
}

fn push(shown: &mut String, character: char) {
    match character {
        '\t' => shown.push('\t'),
        '\r' => shown.push_str("\\r"),
        '\n' => shown.push_str("\\n"),
        // Turns the direction of what follows, so that a line reads as what it is not; or is not
        // seen at all.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{061c}'
        | '\u{feff}' => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        }
        // C0, DEL and C1: the last begin sequences on some terminals, too.
        _ if character.is_control() => {
            let _ = write!(shown, "\\x{:02x}", u32::from(character));
        }
        _ => shown.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_a_terminal_would_obey() {
        for (given, expected) in [
            (&b"listen 80;\t# port"[..], "listen 80;\t# port"),
            (b"\x1b[2J\x07", "\\x1b[2J\\x07"),
            ("\u{9b}31m".as_bytes(), "\\x9b31m"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"caf\xe9\r", "caf\\xe9\\r"),
            ("café".as_bytes(), "café"),
        ] {
            assert_eq!(printable_bytes(given), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let line = vec![b'a'; LONGEST_LINE + 5];
        assert!(printable_bytes(&line).ends_with("aaa… (5 more bytes)"));
        assert!(!printable_bytes(&line[5..]).contains('…'));
    }
}

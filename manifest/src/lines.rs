//! Lines of a content.

/// The lines of a content, each with its line break; the last may have none.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

/// A line without its line break, and the break.
pub(crate) fn split_break(line: &[u8]) -> (&[u8], &[u8]) {
    match line {
        [text @ .., b'\n'] => (text, b"\n"),
        text => (text, b""),
    }
}

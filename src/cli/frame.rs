//! Text that fits into a window: long lines are broken between words, and what does not fit at
//! all is counted.

use super::show::FAINT;

/// Text without its colours.
pub(super) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// So much of a text as a window shows.
pub(super) fn fit(text: &str, width: usize, height: usize) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().flat_map(|line| wrap(line, width)).collect();
    if lines.len() > height && height > 0 {
        let more = lines.len() + 1 - height;
        lines.truncate(height - 1);
        let notice = format!("... {more} more lines: make the window larger");
        let notice: String = notice.chars().take(width).collect();
        lines.push(format!("\x1b[0m{FAINT}{notice}{FAINT:#}"));
    }
    lines
}

/// Breaks a line between words. The rest of it is indented a little more than its beginning.
fn wrap(line: &str, width: usize) -> Vec<String> {
    if visible(line) <= width {
        return vec![line.to_owned()];
    }
    let indent = line.chars().take_while(|char| *char == ' ').count();
    let hang = " ".repeat((indent + 2).min(width / 2));
    let (mut lines, mut current) = (Vec::new(), String::new());
    for (index, word) in line.split(' ').enumerate() {
        let space = usize::from(index > 0);
        if visible(&current) + space + visible(word) > width && !current.trim().is_empty() {
            lines.push(std::mem::replace(&mut current, hang.clone()));
        } else if space > 0 {
            current.push(' ');
        }
        // A word that is longer than a line is broken anywhere.
        for piece in pieces(word) {
            if visible(&current) + visible(piece) > width {
                lines.push(std::mem::replace(&mut current, hang.clone()));
            }
            current.push_str(piece);
        }
    }
    lines.push(current);
    lines
}

fn visible(text: &str) -> usize {
    plain(text).chars().count()
}

/// The characters of a word, each change of colour in one piece.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match first {
            '\x1b' => rest.find('m').map_or(rest.len(), |end| end + 1),
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_colours_take_no_room() {
        let text = "  \x1b[1mone\x1b[0m two three\n\nx";
        assert_eq!(fit(text, 80, 24), ["  \x1b[1mone\x1b[0m two three", "", "x"]);
        assert_eq!(fit(text, 9, 24), ["  \x1b[1mone\x1b[0m two", "    three", "", "x"]);
        // A word that is longer than the window.
        assert_eq!(fit("abcdefgh", 4, 24), ["abcd", "  ef", "  gh"]);
        assert_eq!(fit("\x1b[1mabcdef\x1b[0m", 4, 24), ["\x1b[1mabcd", "  ef\x1b[0m"]);
        for width in 3..12 {
            let wide = |line: &String| visible(line) > width;
            assert!(!fit(text, width, 99).iter().any(wide), "{width}: {:?}", fit(text, width, 99));
        }
    }

    #[test]
    fn a_low_window_counts_what_it_does_not_show() {
        let lines: Vec<String> = fit("a\nb\nc\nd", 80, 3).iter().map(|it| plain(it)).collect();
        assert_eq!(lines, ["a", "b", "... 2 more lines: make the window larger"]);
        assert_eq!(fit("a\nb\nc", 80, 3), ["a", "b", "c"]);
        assert_eq!(plain(&fit("a\nb", 5, 1)[0]), "... 2");
    }
}

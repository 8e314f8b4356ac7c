//! A text that is judged stays in its place: nothing in it looks like a marker of the prompt, a model's special token or a change of speaker.
//!
//! The model reads the text a little changed; nobody else does.

/// Words that name a speaker at the beginning of a line, in the prompt or in what models were trained on.
const SPEAKERS: [&str; 8] = ["user", "agent", "assistant", "human", "system", "developer", "tool", "task"];

/// A text as it may stand in a prompt.
///
/// - `<` and `>` become `‹` and `›`: no `<END CONVERSATION>`, `<|eot_id|>`, `</s>` or `<<SYS>>` is left.
/// - `[` before a capital or a slash becomes `(`: no `[INST]` or `[/INST]`.
/// - The colon after a speaker's name at the beginning of a line becomes ` -`.
/// - All that ends a line is a line feed; other control characters and invisible ones, which could hide any of this, are left out.
pub(crate) fn quoted(text: &str) -> String {
    let plain = plain(text);
    let mut out = String::with_capacity(plain.len() + plain.len() / 8);
    for (number, line) in plain.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        match speaking(line) {
            Some((speaker, rest)) => {
                push(&mut out, speaker);
                out.push_str(" -");
                push(&mut out, rest);
            }
            None => push(&mut out, line),
        }
    }
    out
}

fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_return = false;
    for char in text.chars() {
        match char {
            // The second half of a line end of two.
            '\n' if after_return => {}
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push('\t'),
            char if char.is_control() || is_invisible(char) => {}
            char => out.push(char),
        }
        after_return = char == '\r';
    }
    out
}

/// Soft hyphens, joiners, marks of direction, fillers, tags and the like: what has no width of its own.
const fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A line that begins as a turn does: up to the colon, and after it. What stands before the name, such as `**` or `#`, is no letter.
fn speaking(line: &str) -> Option<(&str, &str)> {
    let (speaker, rest) = line.split_once([':', '：'])?;
    let name = speaker.trim_matches(|char: char| !char.is_alphanumeric());
    SPEAKERS.iter().any(|known| known.eq_ignore_ascii_case(name)).then_some((speaker, rest))
}

fn push(out: &mut String, line: &str) {
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        out.push(match char {
            '<' => '‹',
            '>' => '›',
            '[' if chars.peek().is_some_and(|next| next.is_ascii_uppercase() || *next == '/') => '(',
            char => char,
        });
    }
}

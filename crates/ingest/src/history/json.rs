//! Where a JSON document ends, found byte by byte without reading it.

/// What a byte is to the document that is being looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// No part of a document.
    Between,
    /// A part of the document.
    Within,
    /// Its last byte.
    Last,
    /// No part of it any more: it ended before this byte.
    Ended,
}

/// Follows documents one after the other, or as the elements of one list.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Whether the file is a list; nothing while only white space has come.
    is_list: Option<bool>,
    /// Lists and objects that are open within the document.
    depth: u64,
    is_in_text: bool,
    is_escaped: bool,
    /// Amid a number or a word, which ends where something else begins.
    is_in_word: bool,
}

impl Scanner {
    pub(super) fn step(&mut self, byte: u8) -> Step {
        if self.is_in_text {
            return self.in_text(byte);
        }
        match byte {
            b'[' if self.is_list.is_none() => {
                self.is_list = Some(true);
                Step::Between
            }
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' if self.depth == 0 => {
                if std::mem::take(&mut self.is_in_word) {
                    Step::Ended
                } else {
                    Step::Between
                }
            }
            _ => {
                self.is_list.get_or_insert(false);
                self.within(byte)
            }
        }
    }

    fn within(&mut self, byte: u8) -> Step {
        match byte {
            b'"' => {
                (self.is_in_text, self.is_in_word) = (true, false);
                Step::Within
            }
            b'{' | b'[' => {
                self.is_in_word = false;
                self.depth += 1;
                Step::Within
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.after_part()
            }
            _ => {
                self.is_in_word = self.depth == 0;
                Step::Within
            }
        }
    }

    fn in_text(&mut self, byte: u8) -> Step {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.is_in_text = false;
                return self.after_part();
            }
            _ => {}
        }
        Step::Within
    }

    const fn after_part(&self) -> Step {
        if self.depth == 0 { Step::Last } else { Step::Within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<String> {
        let (mut scanner, mut found, mut document) = (Scanner::default(), Vec::new(), String::new());
        for byte in text.bytes() {
            let step = scanner.step(byte);
            if matches!(step, Step::Within | Step::Last) {
                document.push(char::from(byte));
            }
            if matches!(step, Step::Last | Step::Ended) {
                found.push(std::mem::take(&mut document));
            }
        }
        found
    }

    #[test]
    fn documents_of_a_list_and_documents_in_a_row_are_the_same() {
        let expected = [r#"{"a":"]}\"["}"#, "{}", "[1, 2]", "7", r#""x""#, "null"];
        assert_eq!(documents(r#" [ {"a":"]}\"["}, {},[1, 2] ,7 , "x",null]"#), expected);
        assert_eq!(documents("{\"a\":\"]}\\\"[\"}\n{}\n\n[1, 2] 7 \"x\" null\n"), expected);
        assert!(documents("  ").is_empty());
        assert!(documents("[]").is_empty());
    }
}

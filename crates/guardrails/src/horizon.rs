//! The horizon: up to where nothing that still comes can change what begins there.
//!
//! The built-in rules find things of ASCII only, and of few words: a token has no space in it, and what is written in groups
//! (cards, accounts, phones, national numbers) consists of words of which all but the last have a digit or end in one to four capitals.
//! So what may still grow begins no earlier than the last run of such words. The one exception, a PEM block, is followed from its
//! `-----BEGIN` to its end. Ordinary prose is thus held back by one word.

/// The longest word without a digit, in capitals, that may lie inside something written in groups, in bytes (`GB29 NWBK …`).
const GROUP_LETTERS_MAX: usize = 4;
/// How a PEM block begins (RFC 7468).
const PEM_BEGIN: &[u8] = b"-----BEGIN";
/// How its last line begins.
const PEM_END: &[u8] = b"-----END";

/// Follows a text byte by byte, in constant memory.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    position: usize,
    group_start: usize,
    word: Word,
    pem: Pem,
    /// The latest bytes of the word, to recognise the PEM marks.
    recent: [u8; PEM_BEGIN.len()],
}

/// The word that is being read.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    has_digit: bool,
    /// How many capitals and digits it ends in.
    capitals: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pem {
    #[default]
    Outside,
    Inside,
    /// In the last line: the block ends with this word or with one that ends in dashes.
    Ending,
}

impl Horizon {
    /// Takes in what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.position += 1;
            if byte.is_ascii_whitespace() {
                self.end_word();
            } else if !byte.is_ascii() {
                self.pem = Pem::Outside;
                self.word = Word::default();
                self.recent = [0; PEM_BEGIN.len()];
                self.group_start = self.position;
            } else {
                self.extend_word(byte);
            }
        }
    }

    /// The earliest place where something may begin that is not decided yet.
    pub(crate) const fn open_from(&self) -> usize {
        self.group_start
    }

    fn extend_word(&mut self, byte: u8) {
        self.word.has_digit |= byte.is_ascii_digit();
        let is_capital = byte.is_ascii_digit() || byte.is_ascii_uppercase();
        self.word.capitals = if is_capital { self.word.capitals + 1 } else { 0 };
        if !may_be_pem(byte) {
            self.pem = Pem::Outside;
        }
        self.recent.rotate_left(1);
        if let Some(last) = self.recent.last_mut() {
            *last = byte;
        }
        if self.recent == PEM_BEGIN {
            self.pem = Pem::Inside;
        } else if self.pem == Pem::Inside && self.recent.ends_with(PEM_END) {
            self.pem = Pem::Ending;
        }
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        let ends_in_dashes = self.recent.ends_with(b"-----");
        self.recent = [0; PEM_BEGIN.len()];
        if self.pem == Pem::Ending && ends_in_dashes {
            self.pem = Pem::Outside;
        }
        // The first word of a group may have a quote or a bracket before it.
        let links = word.has_digit || (1..=GROUP_LETTERS_MAX).contains(&word.capitals);
        // An empty word is a second space, which nothing in groups has.
        if self.pem == Pem::Outside && !links {
            self.group_start = self.position;
        }
    }
}

/// Whether a byte may stand in a PEM block, with the headers that RFC 1421 and OpenPGP put there and with line ends escaped as in JSON.
pub(crate) const fn may_be_pem(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte.is_ascii_whitespace()
        || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'\\' | b':' | b',' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, open: &str) {
        let mut horizon = Horizon::default();
        horizon.push(text.as_bytes());
        assert_eq!(&text[horizon.open_from()..], open);
    }

    #[test]
    fn prose_is_held_by_a_word() {
        check("How are you tod", "tod");
        check("How are you ", "");
        check("", "");
        check("日本語のテキスト", "");
    }

    #[test]
    fn groups_are_held_together() {
        check("pay to GB29 NWBK 60", "GB29 NWBK 60");
        check("card 4242 4242", "4242 4242");
        check("card 4242 4242 is", "4242 4242 is");
        check("card 4242 4242 is it", "it");
        check("(\"AB 12 34", "(\"AB 12 34");
    }

    #[test]
    fn a_pem_block_is_held_to_its_end() {
        check("key:\n-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n", "-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n");
        check("a -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- and so", "so");
    }
}

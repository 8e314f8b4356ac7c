//! Elements of DER (X.690), one after another. Going into one is the caller's doing, so nothing recurses.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of a constructed element of a context (`[3] EXPLICIT`).
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's tag and content. Its length must be definite and in as few bytes as it takes (X.690 §10.1); two
    /// bytes are enough below 64 KiB.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, length, rest) = match self.0 {
            // 0x1f in a tag says that more of it follows, which no certificate needs.
            [tag, ..] if tag & 0x1f == 0x1f => return None,
            [tag, length @ 0..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x81, length @ 0x80..=0xff, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x82, high @ 1..=0xff, low, rest @ ..] => {
                (*tag, usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, left) = rest.split_at_checked(length)?;
        self.0 = left;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag)
    }

    /// The content of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.any().map(|(_, content)| content) } else { None }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That there is nothing more.
    pub(super) fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

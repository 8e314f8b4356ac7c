//! The wire format of Protocol Buffers, as far as OTLP needs it: a reader that borrows, and a writer for the few messages we answer with.
//!
//! By hand because a generated reader makes a message of every two bytes before anybody can count them, gives up a whole request for one
//! byte of one span that is not UTF-8, and needs a copy of each text.

use std::borrow::Cow;

/// Bytes that are not the message that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends amid a field")]
    Short,
    #[error("a number has more than 64 bits")]
    LongVarint,
    #[error("a field has a number or a wire type that there is not")]
    Tag,
    #[error("field {0} has another type than its message says")]
    Type(u32),
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    /// Four bytes that nothing here needs.
    Fixed32,
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    raw: Raw<'a>,
}

/// The fields of a message, one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field; none at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(Malformed::Tag)?;
        let raw = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
                self.0 = rest;
                Raw::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Raw::Fixed32
            }
            // Groups (3 and 4) are not part of proto3.
            _ => return Err(Malformed::Tag),
        };
        Ok(Some(Field { number, raw }))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed::Short)?;
            self.0 = rest;
            if shift == 63 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::LongVarint)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*array)
    }
}

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.raw {
            Raw::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Type(self.number)),
        }
    }

    /// A text; bytes that are not UTF-8 become U+FFFD, since a name that was cut amid a character should not cost a span.
    pub(super) fn text(&self) -> Result<Cow<'a, str>, Malformed> {
        self.bytes().map(String::from_utf8_lossy)
    }

    pub(super) fn fixed64(&self) -> Result<u64, Malformed> {
        match self.raw {
            Raw::Fixed64(number) => Ok(number),
            _ => Err(Malformed::Type(self.number)),
        }
    }

    pub(super) fn varint(&self) -> Result<u64, Malformed> {
        match self.raw {
            Raw::Varint(number) => Ok(number),
            _ => Err(Malformed::Type(self.number)),
        }
    }

    /// An enum or `uint32`: what has more bits is cut to 32, as the format's own readers do.
    pub(super) fn small(&self) -> Result<u32, Malformed> {
        self.varint().map(|number| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0))
    }
}

/// A message that is being written. Fields with their default value are left out, as proto3 does.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn push_varint(&mut self, mut number: u64) {
        while number > 0x7F {
            self.0.push(u8::try_from(number & 0x7F).unwrap_or(0) | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    pub(super) fn number(&mut self, field: u32, number: u64) {
        if number > 0 {
            self.push_varint(u64::from(field) << 3);
            self.push_varint(number);
        }
    }

    /// A text, bytes, or a message: a message is written even where it is empty.
    pub(super) fn message(&mut self, field: u32, bytes: &[u8]) {
        self.push_varint(u64::from(field) << 3 | 2);
        self.push_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.message(field, text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_short_or_too_long_is_told() {
        let read = |bytes: &[u8]| Reader::new(bytes).field().err();
        assert_eq!(read(&[0x0A, 5, 1]), Some(Malformed::Short));
        assert_eq!(read(&[0x09, 1]), Some(Malformed::Short));
        assert_eq!(read(&[0x08]), Some(Malformed::Short));
        assert_eq!(read(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), Some(Malformed::LongVarint));
        assert_eq!(read(&[0x0A, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Some(Malformed::Short));
        assert_eq!(read(&[0x02, 0]), Some(Malformed::Tag));
        assert_eq!(read(&[0x0B]), Some(Malformed::Tag));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 1_u64.., text in ".+", field in 1_u32..(1 << 29)) {
            let mut writer = Writer::default();
            writer.number(field, number);
            writer.text(field, &text);
            let mut reader = Reader::new(&writer.0);
            let first = reader.field().unwrap().unwrap();
            prop_assert_eq!((first.number, first.varint().unwrap()), (field, number));
            prop_assert_eq!(reader.field().unwrap().unwrap().text().unwrap(), text);
            prop_assert!(reader.field().unwrap().is_none());
        }

        #[test]
        fn no_bytes_make_reading_panic_or_go_on_for_ever(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(&bytes);
            let mut fields = 0;
            while let Ok(Some(_)) = reader.field() {
                fields += 1;
            }
            prop_assert!(fields <= bytes.len());
        }
    }
}

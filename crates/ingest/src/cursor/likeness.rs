//! Whether one file is a copy of another.

use super::{Copied, File, HEAD_BYTES_MAX, Mark, Peek, Place, Seen, State};

/// How a file compares to one that it may be a copy of.
pub(super) enum Likeness {
    /// The same up to here, which is its end.
    Copy(Place),
    /// The same as far as the other goes, and longer.
    Longer,
    /// Another file.
    None,
    /// One of both could not be read.
    Unknown,
}

impl File {
    /// How a new file compares to this one. Only a path that begins with this one's can be a copy's, as rotation names them.
    pub(super) fn likeness(&self, one: &Seen, seen: &[Seen], peek: Peek<'_>) -> Likeness {
        let is_beside =
            one.path.as_ref().is_some_and(|path| path.starts_with(&self.cursor.path) && *path != self.cursor.path);
        if !is_beside {
            return Likeness::None;
        }
        if let Some(source) = seen.iter().find(|other| self.state == State::Live && self.is_seen_as(other)) {
            return likeness(source, one, peek);
        }
        if one.length < self.cursor.durable.offset.max(self.cursor.head.len() as u64) {
            return Likeness::None;
        }
        match (self.cursor.head.is_at(one, 0, peek), self.cursor.durable.is_in(one, peek)) {
            (Some(true), Some(true)) => Likeness::Copy(self.cursor.durable),
            (Some(_), Some(_)) => Likeness::None,
            _ => Likeness::Unknown,
        }
    }
}

impl Copied {
    /// How it compares to what it was, now that its original has gone or has become another.
    pub(super) fn likeness(&self, one: &Seen, is_rest_wanted: bool, peek: Peek<'_>) -> Likeness {
        if one.length < self.same.offset || one.length < self.head.len() as u64 {
            return Likeness::None;
        }
        match (self.head.is_at(one, 0, peek), self.same.is_in(one, peek)) {
            // What is left of its original is for `find_rest`; beyond that it grows by itself.
            (Some(true), Some(true)) if one.length > self.same.offset && !is_rest_wanted => Likeness::Longer,
            (Some(true), Some(true)) => Likeness::Copy(self.same),
            (Some(_), Some(_)) => Likeness::None,
            _ => Likeness::Unknown,
        }
    }
}

pub(super) fn head_of(one: &Seen, peek: Peek<'_>) -> Option<Mark> {
    Some(Mark::of(&peek(one, 0, HEAD_BYTES_MAX)?)).filter(|mark| mark.len() > 0)
}

/// How a file compares to what another has now, as far as the first and the last bytes show.
pub(super) fn likeness(source: &Seen, one: &Seen, peek: Peek<'_>) -> Likeness {
    let shared = one.length.min(source.length);
    let head_bytes = usize::try_from(shared).unwrap_or(usize::MAX).min(HEAD_BYTES_MAX);
    let read = || {
        let head = Mark::of(&peek(one, 0, head_bytes)?);
        let same = Place { offset: shared, mark: Mark::before(one, shared, peek)? };
        Some((head.is_at(source, 0, peek)? && same.is_in(source, peek)?, same))
    };
    match read() {
        None => Likeness::Unknown,
        Some((true, same)) if one.length <= source.length => Likeness::Copy(same),
        Some((true, _)) if shared > 0 => Likeness::Longer,
        Some(_) => Likeness::None,
    }
}

//! What the decision being made on this thread may still build, and when it is made.
//!
//! An evaluation is one call on one thread. The functions it calls are shared by all evaluations, so they find what belongs to
//! theirs here.

use std::cell::Cell;

use regorus::Value;

/// What an entry of an array, set or object takes besides its text, in bytes; measured generously.
pub(super) const ENTRY_BYTES: u64 = 32;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static NOW_NS: Cell<i64> = const { Cell::new(0) };
}

/// Begins an evaluation on this thread.
pub(crate) fn open_account(built_bytes_max: u64, now_ns: i64) {
    LEFT.set(built_bytes_max);
    NOW_NS.set(now_ns);
}

pub(super) fn now_ns() -> i64 {
    NOW_NS.get()
}

/// Whether so many bytes could be paid.
pub(super) fn afford(bytes: u64) -> Result<(), String> {
    if bytes <= LEFT.get() { Ok(()) } else { Err("would build more than one decision may".to_owned()) }
}

/// Pays for what was built.
pub(super) fn pay(bytes: u64) -> Result<(), String> {
    afford(bytes)?;
    LEFT.set(LEFT.get() - bytes);
    Ok(())
}

/// How large a value is when it is written out, in bytes. What is shared counts every time. Counting ends above `most`, so
/// that it never takes longer than that.
pub(crate) fn weigh(value: &Value, most: u64) -> u64 {
    let mut weight = 0_u64;
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        weight = weight.saturating_add(weigh_shallow(value));
        if weight > most {
            return weight;
        }
        match value {
            Value::Array(items) => pending.extend(items.iter()),
            Value::Set(items) => pending.extend(items.iter()),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| pending.extend([key, value])),
            _ => {}
        }
    }
    weight
}

/// The same without what is within.
pub(super) fn weigh_shallow(value: &Value) -> u64 {
    let entries = match value {
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(fields) => 2 * fields.len(),
        Value::String(text) => return ENTRY_BYTES + text.len() as u64,
        _ => return ENTRY_BYTES,
    };
    ENTRY_BYTES * (1 + entries as u64)
}

/// What a call has made: the value, and its entries without what is within them, since that was there before.
pub(super) fn weigh_built(value: &Value) -> u64 {
    let entries: u64 = match value {
        Value::Array(items) => items.iter().map(weigh_shallow).sum(),
        Value::Set(items) => items.iter().map(weigh_shallow).sum(),
        _ => 0,
    };
    weigh_shallow(value).saturating_add(entries)
}

//! Saved operator state: small ordered key-value records that a checkpoint writes in one atomic batch.
//!
//! A key is `operator position (u16 BE) · tag (u8) · suffix`; big-endian suffixes keep scans in slot order. Saving is
//! incremental: an operator puts or deletes only what changed since the last save or load. Values are read back
//! without trust: a short or overlong value is an error, never a panic.

use crate::{Error, Result};

/// Receives state. Later calls win over earlier ones for the same key.
pub trait StateWriter {
    fn put(&mut self, key: &[u8], value: &[u8]);
    fn delete(&mut self, key: &[u8]);
}

/// Gives state back.
pub trait StateReader {
    /// Visits every record whose key starts with `prefix`, in ascending key order; `visit` gets the full key and the
    /// value.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()>;
}

/// The part of the key space that one operator or relation owns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace(Vec<u8>);

impl Namespace {
    /// The namespace of the operator at `position` (pre-order) of a plan.
    pub fn operator(position: u16) -> Namespace {
        Namespace(position.to_be_bytes().to_vec())
    }

    /// A namespace inside this one.
    pub fn child(&self, tag: u8) -> Namespace {
        Namespace([&self.0[..], &[tag]].concat())
    }

    /// A full key.
    pub fn key(&self, tag: u8, suffix: &[u8]) -> Vec<u8> {
        [&self.0[..], &[tag], suffix].concat()
    }

    /// Visits the records of `tag`; `visit` gets the key's suffix.
    pub fn scan(
        &self,
        state: &dyn StateReader,
        tag: u8,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let prefix = self.key(tag, &[]);
        state.scan(&prefix, &mut |key, value| {
            let suffix = key.strip_prefix(&prefix[..]).ok_or_else(|| damaged("key outside of its prefix"))?;
            visit(suffix, value)
        })
    }
}

/// The error for state that does not decode.
pub(crate) fn damaged(what: &str) -> Error {
    Error::Internal(format!("saved view state is damaged: {what}"))
}

/// Reads little-endian fields off the front of a value.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("short value"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| damaged("short value"))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn i128(&mut self) -> Result<i128> {
        Ok(i128::from_le_bytes(self.array()?))
    }

    /// Bytes with a `u32` length before them.
    pub fn sized(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()? as usize;
        self.bytes(len)
    }

    /// All that is left must be nothing.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged("long value")) }
    }
}

/// Appends bytes with a `u32` length before them; the counterpart of [`Cursor::sized`].
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads a big-endian slot number from the front of a key suffix; returns it and the rest.
pub(crate) fn split_slot(suffix: &[u8]) -> Result<(u32, &[u8])> {
    let (head, rest) = suffix.split_first_chunk::<4>().ok_or_else(|| damaged("short key"))?;
    Ok((u32::from_be_bytes(*head), rest))
}

/// Things changed since the last save, each kept about once however often it changes.
#[derive(Debug)]
pub(crate) struct ChangeList<T> {
    items: Vec<T>,
    compact_at: usize,
}

/// Below this many entries a [`ChangeList`] is never compacted.
const CHANGES_MIN: usize = 1024;

impl<T: Ord> ChangeList<T> {
    pub fn new() -> ChangeList<T> {
        ChangeList { items: vec![], compact_at: CHANGES_MIN }
    }

    /// Notes a change. Sorts and dedups when the list has doubled: amortised O(log n).
    pub fn push(&mut self, item: T) {
        self.items.push(item);
        if self.items.len() >= self.compact_at {
            self.items.sort_unstable();
            self.items.dedup();
            self.compact_at = (2 * self.items.len()).max(CHANGES_MIN);
        }
    }

    /// Takes all changes, ascending, each once.
    pub fn drain(&mut self) -> Vec<T> {
        let mut items = std::mem::take(&mut self.items);
        items.sort_unstable();
        items.dedup();
        self.compact_at = CHANGES_MIN;
        items
    }
}

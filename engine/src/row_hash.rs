//! Row identity: a seeded 128-bit hash of a row's values stands for the row, so rows are never compared.
//!
//! The hash is XXH3-128 with the database's seed over the arrow-row encoding of the columns (or over the bytes of the
//! value when there is one fixed-width column). Two different rows share an identity with probability about
//! `n² / 2¹²⁹` for `n` rows in one arrangement: under 10⁻²⁰ at a billion rows. The seed is secret to the database, so
//! a client cannot prepare collisions. Hash order never reaches an output: tables are only probed.
//!
//! Two notions of equality:
//! - *identity* (rows): bit for bit, so that a retraction finds exactly the row that was inserted;
//! - *grouping* (keys): `-0.0` is `0.0`, and all NaNs are one, as in PostgreSQL ([`canonical_keys`]).

use crate::Result;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use std::sync::Arc;
use twox_hash::XxHash3_128;

/// Hashes rows of columns with one seed.
#[derive(Clone, Copy, Debug)]
pub struct RowHasher {
    seed: u64,
}

/// What a NULL hashes as in the fixed-width path: a length no value has.
const NULL_BYTES: [u8; 1] = [0];

impl RowHasher {
    pub fn new(seed: u64) -> RowHasher {
        RowHasher { seed }
    }

    /// One hash per row; `columns` have `rows` values each. All rows of zero columns are equal.
    pub fn hash_rows(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
        if let [column] = columns
            && let Some(hashes) = self.hash_fixed(column)
        {
            return Ok(hashes);
        }
        if columns.is_empty() {
            return Ok(vec![self.hash_bytes(&[]); rows]);
        }
        let encoded = row_converter(columns.iter().map(|c| c.data_type()))?.convert_columns(columns)?;
        Ok(encoded.iter().map(|row| self.hash_bytes(row.data())).collect())
    }

    /// Hash of a byte string.
    pub fn hash_bytes(&self, bytes: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.seed, bytes)
    }

    fn hash_fixed(&self, column: &ArrayRef) -> Option<Vec<u128>> {
        Some(match column.data_type() {
            DataType::Int16 => self.hash_values(column.as_primitive::<Int16Type>()),
            DataType::Int32 => self.hash_values(column.as_primitive::<Int32Type>()),
            DataType::Int64 => self.hash_values(column.as_primitive::<Int64Type>()),
            DataType::Float32 => self.hash_values(column.as_primitive::<Float32Type>()),
            DataType::Float64 => self.hash_values(column.as_primitive::<Float64Type>()),
            DataType::Decimal128(..) => self.hash_values(column.as_primitive::<Decimal128Type>()),
            DataType::Date32 => self.hash_values(column.as_primitive::<Date32Type>()),
            DataType::Time64(TimeUnit::Microsecond) => self.hash_values(column.as_primitive::<Time64MicrosecondType>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.hash_values(column.as_primitive::<TimestampMicrosecondType>())
            }
            _ => return None,
        })
    }

    fn hash_values<T: ArrowPrimitiveType>(&self, column: &PrimitiveArray<T>) -> Vec<u128> {
        let width = size_of::<T::Native>();
        let bytes = column.values().inner().as_slice();
        let mut hashes: Vec<u128> = bytes.chunks_exact(width).map(|value| self.hash_bytes(value)).collect();
        if let Some(nulls) = column.nulls() {
            let null = self.hash_bytes(&NULL_BYTES);
            (0..hashes.len()).filter(|row| nulls.is_null(*row)).for_each(|row| hashes[row] = null);
        }
        hashes
    }
}

/// A converter between columns of these types and arrow-row bytes; the bytes order as the values, NULL first.
pub(crate) fn row_converter<'a>(types: impl Iterator<Item = &'a DataType>) -> Result<RowConverter> {
    Ok(RowConverter::new(types.map(|t| SortField::new(t.clone())).collect())?)
}

/// Key columns as grouping and equality see them: `-0.0` becomes `0.0`, every NaN the same one, all else stays.
pub(crate) fn canonical_keys(columns: Vec<ArrayRef>) -> Vec<ArrayRef> {
    columns.into_iter().map(canonical_key).collect()
}

fn canonical_key(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| match x {
            _ if x == 0.0 => 0.0,
            _ if x.is_nan() => f32::NAN,
            _ => x,
        })),
        DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| match x {
            _ if x == 0.0 => 0.0,
            _ if x.is_nan() => f64::NAN,
            _ => x,
        })),
        _ => column,
    }
}

/// Maps a 128-bit hash to a slot number.
#[derive(Debug, Default)]
pub(crate) struct HashIndex {
    table: HashTable<IndexEntry>,
}

/// The hash is split so that an entry is 24 bytes, not 32.
#[derive(Debug)]
struct IndexEntry {
    low: u64,
    high: u64,
    slot: u32,
}

impl IndexEntry {
    fn is(&self, hash: u128) -> bool {
        self.low == low(hash) && self.high == high(hash)
    }
}

fn low(hash: u128) -> u64 {
    hash as u64
}

fn high(hash: u128) -> u64 {
    (hash >> 64) as u64
}

impl HashIndex {
    pub fn get(&self, hash: u128) -> Option<u32> {
        self.table.find(low(hash), |entry| entry.is(hash)).map(|entry| entry.slot)
    }

    /// The slot of `hash`; if there is none, `fresh` becomes it. The flag says whether it did.
    pub fn get_or_insert(&mut self, hash: u128, fresh: u32) -> (u32, bool) {
        use hashbrown::hash_table::Entry;
        match self.table.entry(low(hash), |entry| entry.is(hash), |entry| entry.low) {
            Entry::Occupied(found) => (found.get().slot, false),
            Entry::Vacant(place) => {
                place.insert(IndexEntry { low: low(hash), high: high(hash), slot: fresh });
                (fresh, true)
            }
        }
    }

    /// Sets the slot of `hash` and returns the one it had.
    pub fn replace(&mut self, hash: u128, slot: u32) -> Option<u32> {
        use hashbrown::hash_table::Entry;
        match self.table.entry(low(hash), |entry| entry.is(hash), |entry| entry.low) {
            Entry::Occupied(mut found) => Some(std::mem::replace(&mut found.get_mut().slot, slot)),
            Entry::Vacant(place) => {
                place.insert(IndexEntry { low: low(hash), high: high(hash), slot });
                None
            }
        }
    }

    pub fn remove(&mut self, hash: u128) -> Option<u32> {
        let found = self.table.find_entry(low(hash), |entry| entry.is(hash)).ok()?;
        Some(found.remove().0.slot)
    }

    /// Renumbers every slot.
    pub fn renumber(&mut self, new_slot: &[u32]) {
        self.table.iter_mut().for_each(|entry| entry.slot = new_slot[entry.slot as usize]);
    }

    pub fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional, |entry| entry.low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray};

    #[test]
    fn equal_rows_hash_equal_whatever_batch_they_are_in() {
        let hasher = RowHasher::new(7);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(0), Some(1)]));
        let hashes = hasher.hash_rows(&[a.clone()], 4).unwrap();
        assert_eq!(hashes[0], hashes[3]);
        assert_ne!(hashes[1], hashes[2], "NULL is not 0");
        assert_eq!(hasher.hash_rows(&[a.slice(2, 2)], 2).unwrap(), hashes[2..]);
        assert_ne!(RowHasher::new(8).hash_rows(&[a.clone()], 4).unwrap(), hashes);
        let s: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "a"]));
        let wide = hasher.hash_rows(&[a.clone(), s.clone()], 4).unwrap();
        assert_eq!(wide[0], wide[3]);
        assert_eq!(hasher.hash_rows(&[a.slice(3, 1), s.slice(3, 1)], 1).unwrap()[0], wide[0]);
        assert_eq!(hasher.hash_rows(&[], 2).unwrap().len(), 2);
    }

    #[test]
    fn keys_fold_negative_zero_and_nans_and_rows_do_not() {
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let hasher = RowHasher::new(1);
        let rows = hasher.hash_rows(std::slice::from_ref(&zeros), 4).unwrap();
        assert_ne!(rows[0], rows[1]);
        assert_ne!(rows[2], rows[3]);
        let keys = hasher.hash_rows(&canonical_keys(vec![zeros]), 4).unwrap();
        assert_eq!(keys[0], keys[1]);
        assert_eq!(keys[2], keys[3]);
    }

    #[test]
    fn index_finds_what_was_put() {
        let mut index = HashIndex::default();
        let hash = |i: u32| RowHasher::new(3).hash_bytes(&i.to_le_bytes());
        for i in 0..10_000 {
            assert_eq!(index.get_or_insert(hash(i), i), (i, true));
        }
        assert_eq!(index.get_or_insert(hash(5), 77), (5, false));
        assert_eq!(index.remove(hash(5)), Some(5));
        assert_eq!(index.get(hash(5)), None);
        assert_eq!(index.replace(hash(6), 60), Some(6));
        assert_eq!(index.get(hash(6)), Some(60));
        assert_eq!(index.replace(hash(5), 50), None);
    }
}

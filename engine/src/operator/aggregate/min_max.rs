//! `min` and `max`. Append-only input: one value per group. Retractable input: per group the ordered multiset of
//! values, so that the next best is there when the best is retracted.
//!
//! Values are kept as their arrow-row bytes, which order as the values do: fixed-width types packed into a `u128`,
//! others as bytes. Floats order totally (−NaN < −∞ < … < −0.0 < 0.0 < … < +∞ < NaN), whatever order rows come in.

use super::accumulator::{Accumulator, Update};
use crate::row_hash::row_converter;
use crate::state::{ChangeList, Cursor, Namespace, StateReader, StateWriter, damaged, put_sized, split_slot};
use crate::{Error, Result};
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use arrow::row::RowConverter;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// State tag of multisets: suffix = slot (u32 BE) and arrow-row bytes of the value, value = count.
const TAG_VALUE: u8 = b'm';
/// First byte of a fixed-width value that is not NULL.
const NOT_NULL: u8 = 1;

/// A value by its order.
pub(crate) trait OrderKey: Ord + Clone + Send + Debug {
    fn from_row(bytes: &[u8]) -> Self;
    /// Back to arrow-row bytes, `width` of them if the type has a fixed width.
    fn to_row(&self, width: usize) -> Vec<u8>;
}

impl OrderKey for u128 {
    fn from_row(bytes: &[u8]) -> u128 {
        let mut padded = [0; 16];
        let len = (bytes.len() - 1).min(16);
        padded[..len].copy_from_slice(&bytes[1..1 + len]);
        u128::from_be_bytes(padded)
    }

    fn to_row(&self, width: usize) -> Vec<u8> {
        [&[NOT_NULL], &self.to_be_bytes()[..width - 1]].concat()
    }
}

impl OrderKey for Box<[u8]> {
    fn from_row(bytes: &[u8]) -> Box<[u8]> {
        bytes.into()
    }

    fn to_row(&self, _width: usize) -> Vec<u8> {
        self.to_vec()
    }
}

#[derive(Debug)]
pub(crate) struct MinMax<K> {
    max: bool,
    converter: RowConverter,
    /// arrow-row bytes of NULL; as long as every value of a fixed-width type.
    null: Vec<u8>,
    values: Values<K>,
    changes: ChangeList<(u32, K)>,
}

#[derive(Debug)]
enum Values<K> {
    Best(Vec<Option<K>>),
    All(Vec<Multiset<K>>),
}

/// Values with their counts, none of them 0.
#[derive(Clone, Debug)]
struct Multiset<K> {
    counts: BTreeMap<K, i64>,
    /// Values of negative count; none between ticks.
    negatives: usize,
}

impl<K: Ord> Multiset<K> {
    fn new() -> Multiset<K> {
        Multiset { counts: BTreeMap::new(), negatives: 0 }
    }

    fn add(&mut self, value: K, weight: i64) {
        use std::collections::btree_map::Entry;
        let (before, after) = match self.counts.entry(value) {
            Entry::Vacant(place) => (0, *place.insert(weight)),
            Entry::Occupied(mut found) => {
                let before = *found.get();
                *found.get_mut() += weight;
                if before + weight == 0 {
                    found.remove();
                }
                (before, before + weight)
            }
        };
        self.negatives = self.negatives + usize::from(after < 0) - usize::from(before < 0);
    }
}

impl MinMax<u128> {
    /// The accumulator for values of `data_type`.
    pub fn boxed(max: bool, data_type: &DataType, append_only: bool) -> Result<Box<dyn Accumulator>> {
        let variable = data_type.primitive_width().is_none() && *data_type != DataType::Boolean;
        Ok(if variable {
            Box::new(MinMax::<Box<[u8]>>::new(max, data_type, append_only)?)
        } else {
            Box::new(MinMax::<u128>::new(max, data_type, append_only)?)
        })
    }
}

impl<K: OrderKey> MinMax<K> {
    fn new(max: bool, data_type: &DataType, append_only: bool) -> Result<MinMax<K>> {
        let converter = row_converter(std::iter::once(data_type))?;
        let null = converter.convert_columns(&[new_null_array(data_type, 1)])?.row(0).data().to_vec();
        let values = if append_only { Values::Best(vec![]) } else { Values::All(vec![]) };
        Ok(MinMax { max, converter, null, values, changes: ChangeList::new() })
    }

    fn best(&self, slot: u32) -> Result<Option<&K>> {
        let values = match &self.values {
            Values::Best(best) => return Ok(best[slot as usize].as_ref()),
            Values::All(all) => &all[slot as usize],
        };
        if values.negatives > 0 {
            return Err(Error::Internal("a value was retracted more often than it was inserted".into()));
        }
        let best = if self.max { values.counts.last_key_value() } else { values.counts.first_key_value() };
        Ok(best.map(|(value, _)| value))
    }
}

impl<K: OrderKey> Accumulator for MinMax<K> {
    fn grow(&mut self, slots: usize) {
        match &mut self.values {
            Values::Best(best) => best.resize(slots, None),
            Values::All(all) => all.resize(slots, Multiset::new()),
        }
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let encoded = self.converter.convert_columns(std::slice::from_ref(update.argument()?))?;
        for (row, (slot, value)) in update.slots.iter().zip(encoded.iter()).enumerate() {
            let value = K::from_row(value.data());
            let weight = update.weight(row);
            match &mut self.values {
                Values::All(all) => {
                    self.changes.push((*slot, value.clone()));
                    all[*slot as usize].add(value, weight);
                }
                Values::Best(_) if weight < 0 => {
                    return Err(Error::Internal("an append-only input retracted a row".into()));
                }
                Values::Best(best) => {
                    let best = &mut best[*slot as usize];
                    let better = |old: &K| if self.max { value > *old } else { value < *old };
                    if best.as_ref().is_none_or(better) {
                        *best = Some(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let encode = |slot: &u32| {
            let best = self.best(*slot)?;
            Ok(best.map_or_else(|| self.null.clone(), |value| value.to_row(self.null.len())))
        };
        let rows: Vec<Vec<u8>> = slots.iter().map(encode).collect::<Result<_>>()?;
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?.remove(0))
    }

    fn reset(&mut self, slot: u32) {
        match &mut self.values {
            Values::Best(best) => best[slot as usize] = None,
            Values::All(all) => all[slot as usize] = Multiset::new(),
        }
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        if let Values::Best(best) = &self.values {
            let row = best[slot as usize].as_ref().map(|value| value.to_row(self.null.len()));
            put_sized(out, &row.unwrap_or_default());
        }
    }

    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()> {
        if let Values::Best(best) = &mut self.values {
            let row = cursor.sized()?;
            best[slot as usize] = (!row.is_empty()).then(|| K::from_row(row));
        }
        Ok(())
    }

    fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) {
        let Values::All(all) = &self.values else { return };
        for (slot, value) in self.changes.drain() {
            let row = value.to_row(self.null.len());
            let key = space.key(TAG_VALUE, &[&slot.to_be_bytes()[..], &row].concat());
            match all.get(slot as usize).and_then(|values| values.counts.get(&value)) {
                Some(count) => out.put(&key, &count.to_le_bytes()),
                None => out.delete(&key),
            }
        }
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        let Values::All(all) = &mut self.values else { return Ok(()) };
        space.scan(state, TAG_VALUE, &mut |suffix, bytes| {
            let (slot, row) = split_slot(suffix)?;
            let mut cursor = Cursor(bytes);
            let count = cursor.i64()?;
            cursor.finish()?;
            let values = all.get_mut(slot as usize).filter(|_| count > 0 && !row.is_empty());
            values.ok_or_else(|| damaged("a value belongs to no group"))?.add(K::from_row(row), count);
            Ok(())
        })
    }
}

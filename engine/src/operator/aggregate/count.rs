//! `count`: the sum of weights.

use super::accumulator::{Accumulator, Update};
use crate::Result;
use crate::state::Cursor;
use arrow::array::{ArrayRef, Int64Array};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        match update.weights {
            None => update.slots.iter().for_each(|slot| self.counts[*slot as usize] += 1),
            Some(weights) => {
                update.slots.iter().zip(weights).for_each(|(slot, weight)| self.counts[*slot as usize] += weight);
            }
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot as usize]))))
    }

    fn reset(&mut self, slot: u32) {
        self.counts[slot as usize] = 0;
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[slot as usize].to_le_bytes());
    }

    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()> {
        self.counts[slot as usize] = cursor.i64()?;
        Ok(())
    }
}

//! Numbers of slots, one block per chunk, shared with snapshots until written: weights, and degrees of joined rows.
//!
//! Nearly all weights are 0 (gone) or 1, so a block is a bitmap of 1 KiB until a slot needs another weight; then it
//! becomes one `i64` per slot. Copy-on-write therefore costs 1 KiB for each block touched after a snapshot.

use crate::batch::CHUNK_ROWS;
use crate::state::{Cursor, Namespace, StateReader, StateWriter, damaged, split_slot};
use crate::{Error, Result};
use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{filter_record_batch, take_record_batch};
use std::sync::Arc;

/// State tags: suffix = block (u32 BE), value = form byte and 128 words or 8192 numbers.
pub(super) const TAG_WEIGHTS: u8 = b'w';
pub(super) const TAG_DEGREES: u8 = b'd';
const FORM_BITS: u8 = 0;
const FORM_WIDE: u8 = 1;
const WORDS: usize = CHUNK_ROWS / 64;

/// The weights of one chunk's slots.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// Bit = weight, 0 or 1.
    Bits(Vec<u64>),
    /// Any weight.
    Wide(Vec<i64>),
}

impl Block {
    fn get(&self, row: usize) -> i64 {
        match self {
            Block::Bits(words) => ((words[row / 64] >> (row % 64)) & 1) as i64,
            Block::Wide(weights) => weights[row],
        }
    }

    fn set(&mut self, row: usize, weight: i64) {
        match self {
            Block::Bits(words) if weight == 0 => words[row / 64] &= !(1 << (row % 64)),
            Block::Bits(words) if weight == 1 => words[row / 64] |= 1 << (row % 64),
            Block::Bits(_) => {
                *self = Block::Wide((0..CHUNK_ROWS).map(|row| self.get(row)).collect());
                self.set(row, weight);
            }
            Block::Wide(weights) => weights[row] = weight,
        }
    }

    /// The rows of `piece`, whose first row is row `first` of this block, each as often as it weighs.
    pub fn expand(&self, piece: &RecordBatch, first: usize) -> Result<RecordBatch> {
        match self {
            Block::Bits(words) => {
                let bits = BooleanBuffer::new(Buffer::from_slice_ref(words), first, piece.num_rows());
                if bits.count_set_bits() == piece.num_rows() {
                    return Ok(piece.clone());
                }
                Ok(filter_record_batch(piece, &BooleanArray::new(bits, None))?)
            }
            Block::Wide(weights) => {
                let repeats = |row: usize| usize::try_from(weights[first + row]).unwrap_or(0);
                let rows = (0..piece.num_rows()).flat_map(|row| std::iter::repeat_n(row as u32, repeats(row)));
                let rows = UInt32Array::from_iter_values(rows);
                if piece.num_columns() == 0 {
                    return crate::batch::build(piece.schema_ref(), vec![], rows.len());
                }
                Ok(take_record_batch(piece, &rows)?)
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Block::Bits(words) => {
                std::iter::once(FORM_BITS).chain(words.iter().flat_map(|w| w.to_le_bytes())).collect()
            }
            Block::Wide(all) => std::iter::once(FORM_WIDE).chain(all.iter().flat_map(|w| w.to_le_bytes())).collect(),
        }
    }

    fn decode(value: &[u8]) -> Result<Block> {
        let mut cursor = Cursor(value);
        let block = match cursor.u8()? {
            FORM_BITS => Block::Bits((0..WORDS).map(|_| Ok(cursor.i64()? as u64)).collect::<Result<_>>()?),
            FORM_WIDE => Block::Wide((0..CHUNK_ROWS).map(|_| cursor.i64()).collect::<Result<_>>()?),
            _ => return Err(damaged("unknown form of weights")),
        };
        cursor.finish()?;
        Ok(block)
    }
}

/// The weights of all slots.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Where they are saved.
    tag: u8,
    blocks: Vec<Arc<Block>>,
    changed: Vec<bool>,
    /// Blocks in the state store beyond the end of `blocks` (after a compaction).
    saved_blocks: usize,
    /// Sum of all weights.
    total: i64,
    /// Slots of weight ≠ 0.
    live: usize,
}

impl Weights {
    pub fn new(tag: u8) -> Weights {
        Weights { tag, blocks: vec![], changed: vec![], saved_blocks: 0, total: 0, live: 0 }
    }

    pub fn get(&self, slot: u32) -> i64 {
        self.blocks[slot as usize / CHUNK_ROWS].get(slot as usize % CHUNK_ROWS)
    }

    /// Sets the weight of `slot` from `before`; slots beyond the end are added with weight 0.
    pub fn set(&mut self, slot: u32, before: i64, after: i64) {
        let block = slot as usize / CHUNK_ROWS;
        while self.blocks.len() <= block {
            self.blocks.push(Arc::new(Block::Bits(vec![0; WORDS])));
            self.changed.push(true);
        }
        Arc::make_mut(&mut self.blocks[block]).set(slot as usize % CHUNK_ROWS, after);
        self.changed[block] = true;
        self.total += after - before;
        self.live = self.live + usize::from(after != 0) - usize::from(before != 0);
    }

    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Sum of all weights.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// Slots of weight ≠ 0.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Forgets all slots; stored blocks stay until overwritten or deleted by the next save.
    pub fn clear(&mut self) {
        *self = Weights { saved_blocks: self.saved_blocks.max(self.blocks.len()), ..Weights::new(self.tag) };
    }

    pub fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) {
        let key = |block: usize| space.key(self.tag, &(block as u32).to_be_bytes());
        for (at, block) in self.blocks.iter().enumerate().filter(|(at, _)| self.changed[*at]) {
            out.put(&key(at), &block.encode());
        }
        (self.blocks.len()..self.saved_blocks).for_each(|at| out.delete(&key(at)));
        self.saved_blocks = self.blocks.len();
        self.changed.fill(false);
    }

    /// Reads the weights of `rows` slots back.
    pub fn load(&mut self, space: &Namespace, state: &dyn StateReader, rows: usize) -> Result<()> {
        space.scan(state, self.tag, &mut |suffix, value| {
            if split_slot(suffix)?.0 as usize != self.blocks.len() {
                return Err(damaged("weights are not contiguous"));
            }
            self.blocks.push(Arc::new(Block::decode(value)?));
            self.changed.push(false);
            Ok(())
        })?;
        if self.blocks.len() != rows.div_ceil(CHUNK_ROWS) {
            return Err(damaged("weights and rows differ in number"));
        }
        self.saved_blocks = self.blocks.len();
        for slot in 0..rows as u32 {
            let weight = self.get(slot);
            if weight < 0 {
                return Err(Error::Internal("saved view state has a row of negative weight".into()));
            }
            self.total += weight;
            self.live += usize::from(weight != 0);
        }
        Ok(())
    }
}

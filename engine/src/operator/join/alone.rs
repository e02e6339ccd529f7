//! Rows that a join shows alone, by whether they match a row of the other side.
//!
//! ```text
//!               without a match    with a match      shown as
//! Never         -                  -
//! Unmatched     the row            -                 the row beside NULLs (outer join), or the row (anti join)
//! Matched       -                  the row           the row (semi join)
//! Marked        the row, false     the row, true     the row and the mark
//! ```

use super::Output;
use crate::Result;
use crate::arrangement::Arrangement;
use crate::batch::{self, CHUNK_ROWS};
use crate::consolidate::with_weights;
use crate::delta::Delta;
use crate::operator::filter_delta;
use crate::plan::JoinKind;
use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// How the rows of one side are shown alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    rule: Rule,
    is_left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Never,
    Unmatched,
    Matched,
    Marked,
}

impl Alone {
    pub fn new(kind: JoinKind, is_left: bool) -> Alone {
        let rule = match (kind, is_left) {
            (JoinKind::Left | JoinKind::Full | JoinKind::Anti, true) => Rule::Unmatched,
            (JoinKind::Right | JoinKind::Full, false) => Rule::Unmatched,
            (JoinKind::Semi, true) => Rule::Matched,
            (JoinKind::Mark, true) => Rule::Marked,
            _ => Rule::Never,
        };
        Alone { rule, is_left }
    }

    /// Whether degrees matter.
    pub fn counts(self) -> bool {
        self.rule != Rule::Never
    }

    /// Shows rows of a delta with these degrees.
    pub fn given(self, delta: &Delta, degrees: &[i64], out: &mut Output<'_>) -> Result<()> {
        for matched in [false, true].into_iter().filter(|matched| self.shows(*matched)) {
            let mask: BooleanArray = degrees.iter().map(|degree| Some((*degree != 0) == matched)).collect();
            let part = filter_delta(delta.clone(), &mask)?;
            let weights = (0..part.rows()).map(|row| part.weight(row)).collect();
            self.show(part.batch.columns().to_vec(), weights, matched, out)?;
        }
        Ok(())
    }

    /// Shows stored rows that match now and did not before, or the other way round.
    pub fn turned(self, rows: &Arrangement, slots: &[u32], matched: bool, out: &mut Output<'_>) -> Result<()> {
        for part in slots.chunks(CHUNK_ROWS) {
            let columns = rows.gather(part)?;
            let weights = |sign: i64| part.iter().map(|slot| sign * rows.weight(*slot)).collect();
            self.show(columns.clone(), weights(-1), !matched, out)?;
            self.show(columns, weights(1), matched, out)?;
        }
        Ok(())
    }

    fn shows(self, matched: bool) -> bool {
        match self.rule {
            Rule::Never => false,
            Rule::Unmatched => !matched,
            Rule::Matched => matched,
            Rule::Marked => true,
        }
    }

    fn show(self, columns: Vec<ArrayRef>, weights: Vec<i64>, matched: bool, out: &mut Output<'_>) -> Result<()> {
        let rows = weights.len();
        if rows == 0 || !self.shows(matched) {
            return Ok(());
        }
        let columns = match self.rule {
            Rule::Marked => [columns, vec![Arc::new(BooleanArray::from(vec![matched; rows])) as ArrayRef]].concat(),
            _ => self.padded(columns, rows, &out.form.schema),
        };
        out.keep(with_weights(batch::build(&out.form.schema, columns, rows)?, weights))
    }

    /// With NULLs for those columns of `schema` that are the other side's.
    fn padded(self, columns: Vec<ArrayRef>, rows: usize, schema: &SchemaRef) -> Vec<ArrayRef> {
        let own = columns.len();
        let null = |at: usize| new_null_array(schema.field(at).data_type(), rows);
        match self.is_left {
            true => columns.into_iter().chain((own..schema.fields().len()).map(null)).collect(),
            false => (0..schema.fields().len() - own).map(null).chain(columns).collect(),
        }
    }
}

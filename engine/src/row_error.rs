//! Rows that an expression cannot compute: data like any other, with signed weights.
//!
//! A view is a pair `(rows, errors)`. An operator that cannot compute a row of weight `w` gives `(error, w)` instead of the
//! row, and every operator above passes errors on as they are. So errors are linear: what one delta brings, another
//! takes back, in any order and across any cut into ticks; and a view whose errors sum to nothing is exactly its query.
//! (After the error collections of Materialize.)
//!
//! Only what depends on the row alone is such an error ([`Error::is_of_a_row`]). A deadline or a refused allocation would
//! not come again the same way, so it stops the view instead.

use crate::delta::Delta;
use crate::state::{Cursor, Namespace, StateReader, StateWriter, damaged, put_sized};
use crate::{Error, Result};
use arrow::array::RecordBatch;
use std::collections::BTreeMap;

/// State tag of a view's errors: value = total (i64), then per message its weight (i64), whether a guest failed (u8), and
/// the text (sized).
const TAG_ERRORS: u8 = b'e';
/// Different messages that are remembered; more are only counted.
const MESSAGES_MAX: usize = 64;
/// Bytes kept of a message.
const MESSAGE_BYTES_MAX: usize = 512;

/// Why a row cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowError {
    /// A guest function failed; else an expression of SQL.
    pub of_guest: bool,
    pub message: String,
}

/// Errors with their weights: of one step, or all that stand.
#[derive(Clone, Debug, Default)]
pub struct RowErrors {
    /// Sum of all weights, modulo 2⁶⁴; 0 exactly when nothing stands, as no error stands a negative number of times.
    total: i64,
    messages: BTreeMap<RowError, i64>,
}

impl RowErrors {
    /// Notes that rows of this weight fail.
    pub fn add(&mut self, error: &Error, weight: i64) {
        self.total = self.total.wrapping_add(weight);
        self.count(RowError::new(error), weight);
    }

    /// Rows that fail, each as often as it weighs.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// One of the reasons.
    pub fn example(&self) -> Option<&RowError> {
        self.messages.iter().find(|(_, weight)| **weight > 0).map(|(error, _)| error)
    }

    /// Adds the errors of a step to those that stand.
    pub fn apply(&mut self, step: RowErrors) {
        self.total = self.total.wrapping_add(step.total);
        if self.total == 0 {
            self.messages.clear();
            return;
        }
        for (error, weight) in step.messages {
            // A message taken back that is not here was one too many to be remembered.
            if weight > 0 || self.messages.contains_key(&error) {
                self.count(error, weight);
            }
        }
    }

    fn count(&mut self, error: RowError, weight: i64) {
        if self.messages.len() >= MESSAGES_MAX && !self.messages.contains_key(&error) {
            return;
        }
        let count = self.messages.entry(error.clone()).or_default();
        *count = count.wrapping_add(weight);
        if *count == 0 {
            self.messages.remove(&error);
        }
    }

    /// Writes them all.
    pub(crate) fn save(&self, out: &mut dyn StateWriter) {
        let mut value = self.total.to_le_bytes().to_vec();
        for (error, weight) in &self.messages {
            value.extend_from_slice(&weight.to_le_bytes());
            value.push(u8::from(error.of_guest));
            put_sized(&mut value, error.message.as_bytes());
        }
        out.put(&Namespace::default().key(TAG_ERRORS, &[]), &value);
    }

    /// Reads what was saved; nothing saved is no error.
    pub(crate) fn load(state: &dyn StateReader) -> Result<RowErrors> {
        let mut errors = RowErrors::default();
        Namespace::default().scan(state, TAG_ERRORS, &mut |suffix, value| {
            if suffix.is_empty() {
                errors = RowErrors::decode(Cursor(value))?;
            }
            Ok(())
        })?;
        Ok(errors)
    }

    fn decode(mut cursor: Cursor<'_>) -> Result<RowErrors> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a message is not UTF-8"));
        let mut errors = RowErrors { total: cursor.i64()?, messages: BTreeMap::new() };
        while !cursor.0.is_empty() {
            let weight = cursor.i64()?;
            let (of_guest, message) = (cursor.u8()? != 0, text(cursor.sized()?)?);
            errors.messages.insert(RowError { of_guest, message }, weight);
        }
        Ok(errors)
    }
}

impl RowError {
    fn new(error: &Error) -> RowError {
        let (of_guest, mut message) = (matches!(error, Error::Function { .. }), error.to_string());
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        RowError { of_guest, message }
    }
}

/// `compute` over the rows of `delta`, together as far as possible: where it fails the rows are halved until those that
/// fail stand alone, and these go to `errors`. The parts come in the order of their rows.
///
/// # Errors
/// What is not the fault of a row.
pub(crate) fn compute_rows<T>(
    delta: Delta,
    errors: &mut RowErrors,
    compute: &dyn Fn(&RecordBatch) -> Result<T>,
) -> Result<Vec<(Delta, T)>> {
    let parts = compute_parts(delta, errors, compute)?;
    Ok(parts.into_iter().map(|(_, delta, value)| (delta, value)).collect())
}

/// [`compute_rows`], with the place of each part's first row in `delta`.
pub(crate) fn compute_parts<T>(
    delta: Delta,
    errors: &mut RowErrors,
    compute: &dyn Fn(&RecordBatch) -> Result<T>,
) -> Result<Vec<(usize, Delta, T)>> {
    let mut out = Vec::with_capacity(1);
    // Parts still to compute, the first one last.
    let mut parts = vec![(0, delta)];
    while let Some((first, part)) = parts.pop() {
        match compute(&part.batch) {
            _ if part.rows() == 0 => {}
            Ok(value) => out.push((first, part, value)),
            Err(error) if !error.is_of_a_row() => return Err(error),
            Err(error) if part.rows() == 1 => errors.add(&error, part.weight(0)),
            Err(_) => {
                let half = part.rows() / 2;
                parts.push((first + half, part.slice(half, part.rows() - half)));
                parts.push((first, part.slice(0, half)));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn delta(values: Vec<i64>, weights: Vec<i64>) -> Delta {
        let column = Arc::new(Int64Array::from(values)) as arrow::array::ArrayRef;
        Delta::weighted(RecordBatch::try_from_iter([("x", column)]).unwrap(), weights)
    }

    fn inverse(batch: &RecordBatch) -> Result<Vec<i64>> {
        let divide = |x: &i64| 12i64.checked_div(*x).ok_or_else(|| Error::Compute("division by zero".into()));
        batch.column(0).as_primitive::<Int64Type>().values().iter().map(divide).collect()
    }

    #[test]
    fn only_the_rows_that_fail_become_errors() {
        let mut errors = RowErrors::default();
        let parts = compute_rows(delta(vec![1, 0, 2, 3, 0], vec![1, 2, 1, -1, 5]), &mut errors, &inverse).unwrap();
        let values: Vec<i64> = parts.iter().flat_map(|(_, values)| values.clone()).collect();
        let weights: Vec<i64> = parts.iter().flat_map(|(delta, _)| delta.weights.clone().unwrap()).collect();
        assert_eq!((values, weights), (vec![12, 6, 4], vec![1, 1, -1]));
        assert_eq!((errors.total(), errors.example().unwrap().message.as_str()), (7, "division by zero"));
    }

    #[test]
    fn what_is_taken_back_stands_no_more_whatever_the_order() {
        let mut standing = RowErrors::default();
        let mut step = |weight| {
            let mut errors = RowErrors::default();
            compute_rows(delta(vec![0], vec![weight]), &mut errors, &inverse).unwrap();
            standing.apply(errors);
            (standing.total(), standing.example().is_some())
        };
        assert_eq!([step(-1), step(3), step(-2)], [(-1, false), (2, true), (0, false)]);
    }

    #[test]
    fn more_messages_than_are_remembered_are_still_counted() {
        let mut standing = RowErrors::default();
        let error = |n: usize| Error::Compute(format!("bad value {n} {}", "ü".repeat(MESSAGE_BYTES_MAX)));
        for weight in [1, -1] {
            for n in 0..3 * MESSAGES_MAX {
                let mut errors = RowErrors::default();
                errors.add(&error(n), weight);
                standing.apply(errors);
            }
            assert_eq!(standing.total(), if weight > 0 { 3 * MESSAGES_MAX as i64 } else { 0 });
        }
        assert!(standing.example().is_none());
    }

    #[test]
    fn a_deadline_is_no_row_error() {
        let late = |_: &RecordBatch| -> Result<()> {
            Err(Error::Function {
                sqlstate: "57014",
                function: "f".into(),
                message: "ran out of time".into(),
                detail: String::new(),
            })
        };
        assert!(compute_rows(delta(vec![1, 2], vec![1, 1]), &mut RowErrors::default(), &late).is_err());
    }
}

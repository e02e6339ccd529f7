//! The results of some groups, and which of them cannot be computed (a sum that does not fit its type).

use super::accumulator::Call;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Results {
    /// Number of groups.
    pub rows: usize,
    /// One array per call; none at all where there never was a group.
    pub columns: Vec<ArrayRef>,
    /// By row; such a row's columns are NULL.
    pub failed: BTreeMap<usize, Error>,
}

impl Results {
    /// What `calls` give for the groups at `slots`.
    ///
    /// # Errors
    /// What is not the fault of a group.
    pub fn of(calls: &[Call], slots: &[u32]) -> Result<Results> {
        match columns_of(calls, slots) {
            Ok(columns) => Ok(Results { rows: slots.len(), columns, failed: BTreeMap::new() }),
            Err(error) if !error.is_of_a_row() => Err(error),
            Err(_) => Results::one_by_one(calls, slots),
        }
    }

    fn one_by_one(calls: &[Call], slots: &[u32]) -> Result<Results> {
        let mut parts = Vec::with_capacity(slots.len());
        let mut failed = BTreeMap::new();
        for (row, slot) in slots.iter().enumerate() {
            parts.push(match columns_of(calls, &[*slot]) {
                Ok(columns) => columns,
                Err(error) if !error.is_of_a_row() => return Err(error),
                Err(error) => {
                    failed.insert(row, error);
                    calls.iter().map(Call::null).collect()
                }
            });
        }
        Ok(Results { rows: slots.len(), columns: columns_behind_each_other(&parts)?, failed })
    }

    /// All of these, one behind the other.
    pub fn concat(parts: Vec<Results>) -> Result<Results> {
        let (mut rows, mut columns, mut failed) = (0, Vec::with_capacity(parts.len()), BTreeMap::new());
        for part in parts {
            failed.extend(part.failed.into_iter().map(|(row, error)| (rows + row, error)));
            rows += part.rows;
            columns.push(part.columns);
        }
        Ok(Results { rows, columns: columns_behind_each_other(&columns)?, failed })
    }
}

fn columns_behind_each_other(parts: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
    let column = |at: usize| {
        let values: Vec<&dyn Array> = parts.iter().map(|part| part[at].as_ref()).collect();
        Ok(concat(&values)?)
    };
    (0..parts.first().map_or(0, Vec::len)).map(column).collect()
}

fn columns_of(calls: &[Call], slots: &[u32]) -> Result<Vec<ArrayRef>> {
    calls.iter().map(|call| call.evaluate(slots)).collect()
}

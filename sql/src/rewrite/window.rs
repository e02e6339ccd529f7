//! Windows in FROM: a relation whose every row comes once for each window that it is in.
//!
//! ```text
//! TUMBLE(t, ts, size)      SELECT *, date_bin(size, ts) AS window_start, window_start + size AS window_end FROM t
//! HOP(t, ts, slide, size)  SELECT *, date_bin(slide, ts) - i * slide AS window_start, …
//!                            WHERE ts < window_start + size     for i in 0 .. ⌈size / slide⌉, UNION ALL
//! ```
//! Both are linear, so views keep nothing for them; HOP reads its relation once for each window of a row. A row without a
//! time is in no window of HOP, and in TUMBLE's that has neither start nor end. (Arguments as in RisingWave.)

use super::build::argument;
use crate::dialect::spell;
use crate::error::{Error, Result};
use crate::rewrite::string_literal;
use crate::value::parse_interval;
use crate::walk;
use sqlparser::ast::{DataType, Expr, FunctionArg, ObjectName, ObjectNamePart};
use std::ops::ControlFlow;

pub(super) const USAGE: &str = "Write TUMBLE(stream, time_column, INTERVAL '1 minute') or HOP(stream, time_column, INTERVAL '1 minute', INTERVAL '1 hour').";

/// Windows of HOP that a row may be in.
pub(crate) const WINDOWS_OF_A_ROW_MAX: i64 = 100;
/// Nodes of the time's expression.
const COPIED_NODES_MAX: usize = 20;
const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// A call of TUMBLE or HOP. Lengths are in microseconds.
pub(super) struct Windows {
    pub(super) relation: ObjectName,
    time: Expr,
    /// From one window to the next.
    slide: i64,
    size: i64,
    is_hop: bool,
    offset: Option<Expr>,
}

impl Windows {
    /// `None` when `function` makes no windows.
    ///
    /// # Errors
    /// 42601 for other arguments than it takes, 0A000 for lengths that depend on the calendar, 22023 for those that are
    /// not positive, 54001 for more than [`WINDOWS_OF_A_ROW_MAX`] windows of a row.
    pub(super) fn of(function: &str, arguments: &[FunctionArg]) -> Result<Option<Windows>> {
        let (name, is_hop) = match function {
            "tumble" => ("TUMBLE", false),
            "hop" => ("HOP", true),
            _ => return Ok(None),
        };
        let arguments = arguments.iter().map(argument).collect::<Option<Vec<_>>>().unwrap_or_default();
        let lengths = if is_hop { 2 } else { 1 };
        if arguments.len() < 2 + lengths || arguments.len() > 3 + lengths {
            let number = if is_hop { "four or five" } else { "three or four" };
            return Err(Error::syntax(format!("{name} takes {number} arguments")).with_hint(USAGE));
        }
        let relation = relation_argument(arguments[0]).ok_or_else(|| {
            Error::syntax(format!("the first argument of {name} must be the name of a relation")).with_hint(USAGE)
        })?;
        let copied = arguments.get(2 + lengths).copied().into_iter().chain([arguments[1]]);
        copied.into_iter().try_for_each(|expr| may_be_copied(name, expr))?;
        let slide = microseconds(name, arguments[2])?;
        let size = microseconds(name, arguments[1 + lengths])?;
        if (size - 1) / slide >= WINDOWS_OF_A_ROW_MAX {
            return Err(Error::new("54001", format!("a row may be in at most {WINDOWS_OF_A_ROW_MAX} windows of HOP"))
                .with_hint("Use a longer slide, or a shorter window."));
        }
        let offset = arguments.get(2 + lengths).map(|offset| (*offset).clone());
        Ok(Some(Windows { relation, time: arguments[1].clone(), slide, size, is_hop, offset }))
    }

    /// The query of the derived table; `system`: columns to select besides `*`, each with a comma after it.
    pub(super) fn query(&self, system: &str) -> String {
        let (relation, time, size) = (&self.relation, &self.time, interval(self.size));
        let slide = interval(self.slide);
        let bin = match &self.offset {
            None => format!("date_bin({slide}, {time})"),
            Some(offset) => format!("(date_bin({slide}, {time} - ({offset})) + ({offset}))"),
        };
        let window = |start: &str, filter: &str| {
            format!("SELECT *, {system}{start} AS window_start, {start} + {size} AS window_end FROM {relation}{filter}")
        };
        if !self.is_hop {
            return window(&bin, "");
        }
        let hop = |n: i64| {
            let start = format!("({bin} - {})", interval(n * self.slide));
            window(&start, &format!(" WHERE {time} < {start} + {size}"))
        };
        let count = (self.size - 1) / self.slide + 1;
        (0..count).map(hop).collect::<Vec<_>>().join(" UNION ALL ")
    }
}

fn interval(microseconds: i64) -> String {
    format!("'{microseconds} microseconds'::interval")
}

/// The time and the offset stand in the query several times for each window.
fn may_be_copied(function: &str, expr: &Expr) -> Result<()> {
    let mut nodes = 0;
    let small = walk::expressions(expr, |e| {
        nodes += 1;
        let is_query = matches!(e, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
        if is_query || nodes > COPIED_NODES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match small {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::unsupported(
            format!("{function} of so large an expression is not supported"),
            "Compute the time in a view, or in WITH, and name its column.",
        )),
    }
}

/// A length that does not depend on the calendar.
fn microseconds(function: &str, length: &Expr) -> Result<i64> {
    let mut length = length.clone();
    spell(&mut length)?;
    let text = match &length {
        Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => string_literal(expr),
        _ => None,
    };
    let Some(text) = text else {
        return Err(Error::syntax(format!("the size of a {function} window must be an interval")).with_hint(USAGE));
    };
    let Some(interval) = parse_interval(text) else {
        return Err(Error::new("22007", format!("invalid input syntax for type interval: \"{text}\"")));
    };
    if interval.months != 0 {
        return Err(Error::unsupported(
            format!("{function} windows of months or years are not supported"),
            "Group by date_trunc('month', ts) instead.",
        ));
    }
    let days = i64::from(interval.days).checked_mul(DAY_MICROSECONDS);
    match days.and_then(|days| days.checked_add(interval.micros)) {
        Some(length) if length > 0 => Ok(length),
        _ => Err(Error::new("22023", format!("a window of {function} must have a length"))),
    }
}

fn relation_argument(expr: &Expr) -> Option<ObjectName> {
    let parts = match expr {
        Expr::Identifier(ident) => vec![ident.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    Some(ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect()))
}

//! Functions over text and arrays that Postgres has and DataFusion has not.

use super::functions::{Definition, int, text};
use super::names::quote_ident;
use super::relation::Cell;
use datafusion::common::{Result, exec_err};

/// Longest list `generate_subscripts` makes, in elements.
const SUBSCRIPTS_MAX: usize = 1 << 20;

/// `generate_subscripts(array, 1)` as a list, for `unnest`.
pub(super) const SUBSCRIPTS: &str = "pg_subscripts";

pub(super) const FUNCTIONS: &[Definition] = &[
    ("quote_ident", "text", |_, args| Ok(quote_ident(text(args, 0)).into())),
    ("quote_literal", "text", |_, args| Ok(args.first().map(quote_literal).into())),
    ("quote_nullable", "text", |_, args| Ok(args.first().map(quote_literal).into())),
    ("format", "text", |_, args| format(args)),
    ("pg_size_pretty", "text", |_, args| Ok(int(args, 0).map(size_pretty).into())),
    // Of type int8, as the table function `generate_series` asks for.
    ("array_lower", "int8", |_, args| Ok(length(args).map(|_| 1_i64).into())),
    ("array_upper", "int8", |_, args| Ok(length(args).into())),
    (SUBSCRIPTS, "int4[]", |_, args| match length(args) {
        Some(length) if length > SUBSCRIPTS_MAX => exec_err!("an array of {length} elements has too many subscripts"),
        length => Ok(Cell::list(1..=length.unwrap_or(0))),
    }),
];

/// Elements of the first dimension; an empty array has none, as in Postgres.
fn length(args: &[Cell]) -> Option<usize> {
    match args {
        [Cell::List(items), Cell::Int(1)] if !items.is_empty() => Some(items.len()),
        _ => None,
    }
}

fn quote_literal(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        cell => {
            let text = display(cell);
            let escape = if text.contains('\\') { "E" } else { "" };
            format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
        }
    }
}

/// `format(template, …)` with `%s`, `%I`, `%L`, `%%` and positions such as `%1$s`; no widths.
fn format(args: &[Cell]) -> Result<Cell> {
    let Some(Cell::Text(template)) = args.first() else { return Ok(Cell::Null) };
    let (mut out, mut next, mut rest) = (String::new(), 1, template.as_str());
    while let Some((before, directive)) = rest.split_once('%') {
        out.push_str(before);
        let digits = directive.len() - directive.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (position, directive) = match directive[digits..].strip_prefix('$') {
            Some(after) if digits > 0 => (directive[..digits].parse().ok(), after),
            _ => (None, directive),
        };
        let kind = directive.chars().next();
        rest = &directive[kind.map_or(0, char::len_utf8)..];
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let at: usize = position.unwrap_or(next);
        let Some(argument) = args.get(at).filter(|_| at > 0) else {
            return exec_err!("too few arguments for format()");
        };
        next = at + 1;
        match (kind, argument) {
            (Some('s'), argument) => out.push_str(&display(argument)),
            (Some('I'), Cell::Null) => return exec_err!("null values cannot be formatted as an SQL identifier"),
            (Some('I'), argument) => out.push_str(&quote_ident(&display(argument))),
            (Some('L'), argument) => out.push_str(&quote_literal(argument)),
            _ => return exec_err!("unrecognized format() type specifier"),
        }
    }
    out.push_str(rest);
    Ok(out.into())
}

fn display(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(value) => if *value { "t" } else { "f" }.into(),
        Cell::Int(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::List(items) => format!("{{{}}}", items.iter().map(display).collect::<Vec<_>>().join(",")),
    }
}

/// Bytes as Postgres prints them: a unit is left when ten of the next are reached, and halves round away from zero.
fn size_pretty(bytes: i64) -> String {
    let (mut size, mut units) = (bytes, ["bytes", "kB", "MB", "GB", "TB", "PB"].into_iter().peekable());
    let mut halved = false;
    while let Some(unit) = units.next() {
        let limit = if halved { 20 * 1024 - 1 } else { 10 * 1024 };
        if size.abs() < limit || units.peek().is_none() {
            let shown = if halved { (size + size.signum()) / 2 } else { size };
            return format!("{shown} {unit}");
        }
        // Sizes are kept doubled after the first unit, so that the last division rounds.
        size /= if halved { 1024 } else { 512 };
        halved = true;
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_postgres() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (1_000_000, "977 kB"),
            (20_000_000, "19 MB"),
            (-20_000_000, "-19 MB"),
        ] {
            assert_eq!(size_pretty(bytes), text);
        }
    }

    #[test]
    fn format_fills_in_its_arguments() {
        let args = |template: &str| vec![template.into(), Cell::from("a b"), Cell::from("it's")];
        assert_eq!(format(&args("%I.%s 100%%")).unwrap(), "\"a b\".it's 100%".into());
        assert_eq!(format(&args("%2$L %1$s")).unwrap(), "'it''s' a b".into());
        assert!(format(&args("%s %s %s")).is_err());
        assert!(format(&args("%é")).is_err());
    }
}

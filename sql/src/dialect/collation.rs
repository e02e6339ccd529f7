//! The one collation there is: by bytes, as Postgres' `C`. Another is refused; ignoring it would sort otherwise than asked.

use crate::error::Error;
use sqlparser::ast::ObjectName;

const NAMES: [&str; 4] = ["c", "posix", "default", "ucs_basic"];

fn last(name: &ObjectName) -> &str {
    name.0.last().and_then(|part| part.as_ident()).map_or("", |ident| ident.value.as_str())
}

/// Whether the name means that collation.
pub(crate) fn is_collation(name: &ObjectName) -> bool {
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(last(name)))
}

/// The error for any other name.
pub(super) fn unknown(name: &ObjectName) -> Error {
    Error::new("42704", format!("collation \"{}\" for encoding \"UTF8\" does not exist", last(name)))
        .with_hint("Text is ordered by its bytes: there is \"C\".")
}

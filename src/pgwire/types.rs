//! How the columns of a result are described to the client.

use super::message::ColumnDescription;
use arrow::datatypes::{Field, SchemaRef};
use millpond_sql::value::oid::{oid_of_field, size_of_oid};
use millpond_sql::value::pg_type::type_modifier;

/// Most columns of a result, as in Postgres.
const RESULT_COLUMNS_MAX: usize = 1664;
/// Offset from UTC of the zone in which instants are read and shown: `TimeZone` can be nothing else.
pub const ZONE_SECONDS: i32 = 0;

/// # Errors
/// 54011 when a result has more columns than the protocol's clients expect.
pub fn check_columns(schema: &SchemaRef) -> super::error::Result<()> {
    if schema.fields().len() <= RESULT_COLUMNS_MAX {
        return Ok(());
    }
    let message = format!("target lists can have at most {RESULT_COLUMNS_MAX} entries");
    Err(super::error::WireError::new("54011", message))
}

/// RowDescription of a result; `formats` as Bind gave them.
pub fn describe(schema: &SchemaRef, formats: &Formats) -> Vec<ColumnDescription> {
    let describe_field = |(index, field): (usize, &std::sync::Arc<Field>)| {
        let type_oid = oid_of_field(field);
        ColumnDescription {
            name: field.name().clone(),
            type_oid,
            type_size: size_of_oid(type_oid),
            type_modifier: type_modifier(field.data_type()),
            format: i16::from(formats.binary(index)),
        }
    };
    schema.fields().iter().enumerate().map(describe_field).collect()
}

/// Format codes of a row's columns: none = all text, one = for all, else one each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats(Vec<i16>);

impl Formats {
    /// # Errors
    /// 08P01 for codes other than 0 and 1.
    pub fn new(codes: Vec<i16>) -> super::error::Result<Formats> {
        match codes.iter().find(|code| !(0..=1).contains(*code)) {
            Some(code) => Err(super::error::WireError::new("08P01", format!("unsupported format code: {code}"))),
            None => Ok(Formats(codes)),
        }
    }

    pub fn binary(&self, column: usize) -> bool {
        match self.0.as_slice() {
            [] => false,
            [one] => *one == 1,
            each => each.get(column) == Some(&1),
        }
    }

    /// Whether these codes can serve `columns` columns.
    pub fn fits(&self, columns: usize) -> bool {
        self.0.len() <= 1 || self.0.len() == columns
    }
}

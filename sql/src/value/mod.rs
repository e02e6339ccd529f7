//! Values as Postgres spells them, in text and in binary: what clients send and are sent, what COPY reads and writes,
//! and what a cast from or to text gives.
//!
//! One spelling serves all of these, so that `x::text` is what `SELECT x` shows.

pub(crate) mod datetime;
mod decode;
mod encode;
mod interval;
mod number;
pub mod oid;
pub mod pg_type;

pub use datetime::zone_offset_seconds;
pub use decode::{ColumnDecoder, decode_parameter, quoted, utf8};
pub use encode::Cells;
pub(crate) use encode::interval_of_duration;
pub(crate) use interval::parse_interval;

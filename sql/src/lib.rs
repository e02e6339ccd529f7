//! Text to plans: parse, bind, optimise, lower to the engine's dataflow. No disk, no WebAssembly, no sockets.
//!
//! The way of a statement: `parser` (text → [`Statement`]) → `execute` (which engine call) → `rewrite` (Millpond's SQL →
//! DataFusion's) → `planner` (DataFusion over one snapshot, `relation`) → rows; or → `view` and `lower` (DataFusion's
//! logical plan → the engine's incremental plan).

mod conflict;
mod copy;
mod ddl;
mod dialect;
mod dml;
pub mod error;
mod execute;
mod explain;
mod feed;
mod function;
mod key_lookup;
mod lower;
mod names;
mod parameters;
mod parser;
pub mod pg_catalog;
mod planner;
mod position;
mod relation;
mod returning;
mod rewrite;
mod rows;
mod segment;
pub mod session;
mod settings;
mod show;
mod size;
mod statement;
mod transaction;
mod types;
pub mod value;
mod view;
mod walk;

pub use copy::{CopyFormat, CopyIn, CopyOptions};
pub use error::{Error, Result};
pub use feed::Feed;
pub use rows::Rows;
pub use session::{Instance, Outcome, Prepared, Session, TransactionStatus};
pub use statement::Statement;

//! The database: log, epochs, dataflow, views and subscriptions.
//!
//! Invariants of this room:
//! - no SQL text, no WebAssembly, no sockets and no async: threads, channels and condition variables only;
//! - a record travels one way: stream → log → epoch → dataflow → view → subscription;
//! - readers and views see durable offsets only, and one `Snapshot` is one cut over all objects;
//! - disk, time and randomness are reached through [`env::Env`].

mod arrangement;
mod backfill;
mod batch;
pub mod catalog;
pub mod consolidate;
pub mod database;
pub mod dataflow;
mod ddl;
pub mod delta;
pub mod env;
pub mod error;
pub mod function;
mod graph;
pub mod ids;
mod input;
pub mod log;
mod operator;
pub mod plan;
mod reconcile;
pub mod relation;
pub mod row_error;
pub mod row_hash;
pub mod snapshot;
pub mod state;
mod store;
pub mod subscription;
mod ticker;
pub mod transaction;

pub use batch::memory_bytes;
pub use error::{Error, Result};
pub use ids::{Epoch, ObjectId, Offset, PartitionId};
pub use ticker::STACK_BYTES;

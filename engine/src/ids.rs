//! Newtypes for the numbers that must never be mixed up.
//!
//! Ranges over any of them are half-open `[lower, upper)`.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype! {
    /// Position of a record in its partition: dense from 0, never reused.
    Offset(u64)
}
newtype! {
    /// Engine time: the number of commit groups made durable so far. Epoch `e` is the state after groups `[0, e)`.
    /// It is stored in the log, so it never goes back, across restarts included.
    Epoch(u64)
}
newtype! {
    /// A partition of a stream: the unit of order.
    PartitionId(u32)
}
newtype! {
    /// A catalog object (stream, table, view, module); never reused. Also its Postgres OID.
    ObjectId(u32)
}

impl Epoch {
    /// The epoch after one more commit group.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

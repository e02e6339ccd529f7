//! The memory that all open transactions may hold together.

use super::TRANSACTION_BYTES_MAX;
use crate::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of rows that all open transactions may hold together, unless the options say otherwise.
pub const OPEN_TRANSACTIONS_BYTES_MAX: usize = 2 << 30;

/// What is held of a bound.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { held: AtomicUsize::new(0), bytes_max }
    }

    /// Takes `more` bytes for a transaction that holds `own`.
    ///
    /// # Errors
    /// `Memory`; then nothing was taken.
    pub(crate) fn take(&self, own: usize, more: usize) -> Result<()> {
        if own.saturating_add(more) > TRANSACTION_BYTES_MAX {
            return Err(Error::Memory {
                message: format!("a transaction may hold {} MiB of rows", TRANSACTION_BYTES_MAX >> 20),
                hint: "Write them in smaller transactions.",
            });
        }
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= self.bytes_max)
        });
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Memory {
                message: format!("all open transactions together may hold {} KiB of rows", self.bytes_max >> 10),
                hint: "Try again when other transactions have ended, or write in smaller ones.",
            }),
        }
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

//! A client's socket with its two buffers, and the ways work on its behalf is interrupted.
//!
//! While a statement runs, the socket is still watched: the loop notices a CancelRequest, a lost client and a server
//! that stops. Output is flushed when it has grown to [`FLUSH_BYTES`] or when there is nothing else to do, so a burst
//! of messages costs one write, and a reader that stalls holds back the work instead of growing memory.

use super::cancel::{CancelFlag, CancelHandle};
use super::error::WireError;
use super::message::{Frontend, missing_bytes, take_frontend};
use bytes::BytesMut;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

/// Output is written to the socket once it has grown this large.
pub const FLUSH_BYTES: usize = 64 << 10;
/// Pipelined input that is buffered while a statement runs.
const PIPELINED_BYTES_MAX: usize = 256 << 10;
/// Least room offered to a read, and most room made at once for a large frame.
const READ_BYTES_MIN: usize = 16 << 10;
const READ_BYTES_MAX: usize = 1 << 20;
/// Output buffers larger than this are given back after a flush.
const OUTPUT_KEPT_BYTES_MAX: usize = 1 << 20;
/// How long a cancelled statement may take to give up.
const CANCEL_GRACE: Duration = Duration::from_secs(60);
/// How long a statement may take to give up when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// How long the last bytes to a client may take: one that does not read must not hold up the server's stop.
const FAREWELL: Duration = Duration::from_millis(200);

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The client left.
    Closed,
    /// The client is told why.
    Fatal(WireError),
}

/// Why a message was not served to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Reported; the connection goes on.
    Error(WireError),
    End(End),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Stop {
        Stop::Error(error)
    }
}

impl From<millpond_sql::Error> for Stop {
    fn from(error: millpond_sql::Error) -> Stop {
        Stop::Error(error.into())
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Stop {
        Stop::End(end)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupt {
    Canceled,
    Disconnected,
    Shutdown,
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Stop {
        match interrupt {
            Interrupt::Canceled => Stop::Error(WireError::canceled()),
            Interrupt::Disconnected => Stop::End(End::Closed),
            Interrupt::Shutdown => Stop::End(End::Fatal(WireError::shutdown())),
        }
    }
}

/// The socket of one client.
pub struct Wire {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    inbound: BytesMut,
    /// Messages not yet written to the socket.
    pub out: BytesMut,
    cancel: Arc<CancelHandle>,
    shutdown: watch::Receiver<bool>,
}

impl Wire {
    pub fn new(
        (reader, writer): (OwnedReadHalf, OwnedWriteHalf),
        inbound: BytesMut,
        cancel: Arc<CancelHandle>,
        shutdown: watch::Receiver<bool>,
    ) -> Wire {
        Wire { reader, writer, inbound, out: BytesMut::new(), cancel, shutdown }
    }

    /// The next message of an idle client, which has to come within `limit`. Pending output is flushed before waiting.
    pub async fn next_message(&mut self, limit: Option<Duration>) -> Result<Frontend, End> {
        // No statement runs, so nothing can be cancelled.
        let never = CancelFlag::default();
        let message = self.next_message_during(&never);
        let message = match limit {
            Some(limit) => match tokio::time::timeout(limit, message).await {
                Ok(message) => message,
                Err(_) => return Err(End::Fatal(WireError::idle_in_transaction())),
            },
            None => message.await,
        };
        match message {
            Ok(message) => Ok(message),
            Err(Stop::End(end)) => Err(end),
            Err(Stop::Error(error)) => Err(End::Fatal(error)),
        }
    }

    /// The next message of a client while its statement (a COPY) runs.
    pub async fn next_message_during(&mut self, flag: &CancelFlag) -> Result<Frontend, Stop> {
        loop {
            let taken = take_frontend(&mut self.inbound).map_err(|malformed| End::Fatal(malformed.into()))?;
            if let Some(message) = taken {
                if self.out.len() >= FLUSH_BYTES {
                    self.flush(flag).await?;
                }
                return Ok(message);
            }
            self.flush(flag).await?;
            self.inbound.reserve(missing_bytes(&self.inbound).clamp(READ_BYTES_MIN, READ_BYTES_MAX));
            tokio::select! {
                read = self.reader.read_buf(&mut self.inbound) => {
                    if !matches!(read, Ok(1..)) {
                        return Err(End::Closed.into());
                    }
                }
                () = self.cancel.canceled(flag) => return Err(Interrupt::Canceled.into()),
                () = stops(&mut self.shutdown) => return Err(Interrupt::Shutdown.into()),
            }
        }
    }

    /// Writes all output to the socket.
    pub async fn flush(&mut self, flag: &CancelFlag) -> Result<(), Stop> {
        while !self.out.is_empty() {
            let watched = watch_client(&mut self.reader, &mut self.inbound, &self.cancel, &mut self.shutdown, flag);
            tokio::select! {
                written = self.writer.write_buf(&mut self.out) => {
                    if !matches!(written, Ok(1..)) {
                        return Err(End::Closed.into());
                    }
                }
                interrupt = watched => return Err(interrupt.into()),
            }
        }
        if self.out.capacity() > OUTPUT_KEPT_BYTES_MAX {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Awaits `work`, which is dropped when the statement is interrupted.
    pub async fn until_interrupted<F: Future>(&mut self, flag: &CancelFlag, work: F) -> Result<F::Output, Stop> {
        tokio::select! {
            output = work => Ok(output),
            interrupt = watch_client(&mut self.reader, &mut self.inbound, &self.cancel, &mut self.shutdown, flag) => {
                flag.store(true, Ordering::Release);
                Err(interrupt.into())
            }
        }
    }

    /// Awaits `work`, which is told of an interruption by `flag` and then given time to end by itself.
    pub async fn until_it_ends<F: Future>(&mut self, flag: &CancelFlag, work: F) -> Result<F::Output, Stop> {
        let mut work = pin!(work);
        let interrupt = tokio::select! {
            output = &mut work => return Ok(output),
            interrupt = watch_client(&mut self.reader, &mut self.inbound, &self.cancel, &mut self.shutdown, flag) => {
                interrupt
            }
        };
        flag.store(true, Ordering::Release);
        let grace = if interrupt == Interrupt::Shutdown { SHUTDOWN_GRACE } else { CANCEL_GRACE };
        match (tokio::time::timeout(grace, work).await, interrupt) {
            (Ok(output), Interrupt::Canceled) => Ok(output),
            (Err(_), Interrupt::Canceled) => {
                Err(End::Fatal(WireError::internal("the cancelled statement did not stop in time")).into())
            }
            (_, interrupt) => Err(interrupt.into()),
        }
    }

    /// Sends what is left, and why the connection ends; gives up on a client that does not read.
    pub async fn farewell(&mut self, error: Option<WireError>) {
        if let Some(error) = error {
            error.put(&mut self.out, "FATAL");
        }
        let _ = tokio::time::timeout(FAREWELL, self.writer.write_all_buf(&mut self.out)).await;
        let _ = tokio::time::timeout(FAREWELL, self.writer.shutdown()).await;
    }
}

/// Completes when the server stops.
pub async fn stops(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

/// Completes when the statement has to stop. Buffers what the client sends meanwhile, up to a bound.
async fn watch_client(
    reader: &mut OwnedReadHalf,
    inbound: &mut BytesMut,
    cancel: &CancelHandle,
    shutdown: &mut watch::Receiver<bool>,
    flag: &CancelFlag,
) -> Interrupt {
    loop {
        tokio::select! {
            () = cancel.canceled(flag) => return Interrupt::Canceled,
            () = stops(shutdown) => return Interrupt::Shutdown,
            read = reader.read_buf(inbound), if inbound.len() < PIPELINED_BYTES_MAX => {
                if !matches!(read, Ok(1..)) {
                    return Interrupt::Disconnected;
                }
            }
        }
    }
}

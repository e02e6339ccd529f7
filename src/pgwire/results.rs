//! From an outcome to the client: result rows, and the three kinds of COPY.
//!
//! Rows are encoded into the socket's buffer, which is written out when it is full or when the next batch is not ready
//! yet; so rows reach the client as soon as they exist, and a client that does not read stalls the query.

use super::cancel::CancelFlag;
use super::copy_in::CopyDecoder;
use super::copy_out::CopyEncoder;
use super::error::{PROTOCOL_VIOLATION, WireError};
use super::lane::{LaneSession, LaneStream};
use super::message::*;
use super::rows::RowEncoder;
use super::types::{Formats, check_columns};
use super::wire::{End, FLUSH_BYTES, Stop, Wire};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_engine::function::StatementTimeout;
use millpond_sql::{CopyFormat, CopyIn, CopyOptions, Feed, Rows};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Batches a subscription may be ahead of its client.
const FEED_BATCHES_MAX: usize = 2;
/// How long rows wait for more of them before they are written.
const FLUSH_DELAY: Duration = Duration::from_millis(2);
/// How often a subscription without changes looks whether its client is still there.
const FEED_POLL: Duration = Duration::from_millis(100);

/// A result set on its way to the client; a portal keeps it between two Execute messages.
pub struct RowCursor {
    pub schema: SchemaRef,
    /// When its statement is over.
    pub timeout: StatementTimeout,
    stream: LaneStream,
    current: Option<CurrentBatch>,
    tag: &'static str,
    count: bool,
}

struct CurrentBatch {
    encoder: RowEncoder,
    rows: usize,
    next: usize,
}

/// Whether a cursor has more rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Finished,
    Suspended,
}

impl RowCursor {
    /// `flag` is that of the statement.
    ///
    /// # Errors
    /// 54011 when there are too many columns.
    pub fn new(rows: Rows, session: &LaneSession, flag: &CancelFlag) -> Result<RowCursor, WireError> {
        check_columns(&rows.schema)?;
        let stream = session.stream(rows.stream, flag.clone());
        let Rows { schema, tag, count, timeout, .. } = rows;
        Ok(RowCursor { schema, timeout, stream, current: None, tag, count })
    }

    pub fn flag(&self) -> CancelFlag {
        self.stream.cancel.clone()
    }

    /// The tag of its CommandComplete when that ends `sent` rows.
    pub fn tag(&self, sent: usize) -> String {
        if self.count { format!("{} {sent}", self.tag) } else { self.tag.to_owned() }
    }

    /// Sends rows, at most `rows_max` of them, and then CommandComplete or PortalSuspended. Nothing is computed beyond
    /// the batch the last row is in.
    pub async fn send(
        &mut self,
        wire: &mut Wire,
        formats: &Formats,
        rows_max: Option<usize>,
    ) -> Result<Progress, Stop> {
        let flag = &self.flag();
        let mut sent = 0usize;
        loop {
            if rows_max == Some(sent) {
                put_portal_suspended(&mut wire.out);
                return Ok(Progress::Suspended);
            }
            let Some(batch) = &mut self.current else {
                match next_batch(&mut self.stream, wire, flag).await? {
                    Some(batch) => {
                        let encoder = RowEncoder::new(&batch, formats)?;
                        self.current = Some(CurrentBatch { encoder, rows: batch.num_rows(), next: 0 });
                        continue;
                    }
                    None => break,
                }
            };
            while batch.next < batch.rows && rows_max != Some(sent) {
                batch.encoder.put_row(&mut wire.out, batch.next)?;
                batch.next += 1;
                sent += 1;
                if wire.out.len() >= FLUSH_BYTES {
                    wire.flush(flag).await?;
                }
            }
            if batch.next == batch.rows {
                self.current = None;
            }
        }
        put_command_complete(&mut wire.out, &self.tag(sent));
        Ok(Progress::Finished)
    }
}

/// The next batch of a stream; what is already encoded is flushed if the batch is not there soon.
async fn next_batch(stream: &mut LaneStream, wire: &mut Wire, flag: &CancelFlag) -> Result<Option<RecordBatch>, Stop> {
    let mut next = pin!(stream.next());
    let next = match tokio::time::timeout(FLUSH_DELAY, &mut next).await {
        Ok(next) => next,
        Err(_) => {
            wire.flush(flag).await?;
            wire.until_interrupted(flag, next).await?
        }
    };
    if flag.load(Ordering::Acquire) {
        return Err(WireError::canceled().into());
    }
    Ok(next.transpose().map_err(WireError::from)?)
}

/// `COPY (query) TO STDOUT`.
pub async fn copy_out(
    schema: &SchemaRef,
    mut stream: LaneStream,
    options: CopyOptions,
    wire: &mut Wire,
    flag: &CancelFlag,
) -> Result<(), Stop> {
    check_columns(schema)?;
    let mut encoder = CopyEncoder::new(options);
    put_copy_response(&mut wire.out, b'H', encoder.binary(), schema.fields().len());
    encoder.put_start(&mut wire.out, schema);
    let mut sent = 0;
    while let Some(batch) = next_batch(&mut stream, wire, flag).await? {
        sent += put_copy_batch(&mut encoder, &batch, wire, flag).await?;
    }
    encoder.put_end(&mut wire.out);
    put_copy_done(&mut wire.out);
    put_command_complete(&mut wire.out, &format!("COPY {sent}"));
    Ok(())
}

async fn put_copy_batch(
    encoder: &mut CopyEncoder,
    batch: &RecordBatch,
    wire: &mut Wire,
    flag: &CancelFlag,
) -> Result<usize, Stop> {
    let rows = encoder.rows(batch)?;
    for row in 0..rows.rows {
        encoder.put_row(&mut wire.out, &rows, row)?;
        if wire.out.len() >= FLUSH_BYTES {
            wire.flush(flag).await?;
        }
    }
    Ok(rows.rows)
}

/// `COPY (SUBSCRIBE …) TO STDOUT`: runs until the client cancels or leaves, or the feed fails.
pub async fn subscribe(feed: Feed, options: CopyOptions, wire: &mut Wire, flag: &CancelFlag) -> Result<(), Stop> {
    let mut encoder = CopyEncoder::new(options);
    put_copy_response(&mut wire.out, b'H', encoder.binary(), feed.schema.fields().len());
    encoder.put_start(&mut wire.out, &feed.schema);
    let (sender, mut receiver) = mpsc::channel(FEED_BATCHES_MAX);
    let pump_flag = flag.clone();
    let pump = tokio::task::spawn_blocking(move || pump(feed, &sender, &pump_flag));
    let stop = forward(&mut encoder, &mut receiver, wire, flag).await;
    flag.store(true, Ordering::Release);
    drop(receiver);
    // The pump looks at the flag between two polls of its feed.
    let _ = pump.await;
    Err(stop)
}

async fn forward(
    encoder: &mut CopyEncoder,
    receiver: &mut mpsc::Receiver<Result<RecordBatch, WireError>>,
    wire: &mut Wire,
    flag: &CancelFlag,
) -> Stop {
    loop {
        let next = match receiver.try_recv() {
            Ok(next) => Ok(Some(next)),
            Err(_) => match wire.flush(flag).await {
                Ok(()) => wire.until_interrupted(flag, receiver.recv()).await,
                Err(stop) => Err(stop),
            },
        };
        let sent = match next {
            Ok(Some(Ok(batch))) => put_copy_batch(encoder, &batch, wire, flag).await,
            Ok(Some(Err(error))) => return error.into(),
            Ok(None) => return WireError::internal("the subscription ended unexpectedly").into(),
            Err(stop) => return stop,
        };
        if let Err(stop) = sent {
            return stop;
        }
    }
}

/// Pulls from the feed on a thread of its own; blocks while the client is behind.
fn pump(mut feed: Feed, sender: &mpsc::Sender<Result<RecordBatch, WireError>>, flag: &CancelFlag) {
    while !flag.load(Ordering::Acquire) && !sender.is_closed() {
        let message = match feed.next(FEED_POLL) {
            Ok(None) => continue,
            Ok(Some(batch)) => Ok(batch),
            Err(error) => Err(WireError::from(error)),
        };
        let failed = message.is_err();
        if sender.blocking_send(message).is_err() || failed {
            return;
        }
    }
}

/// `COPY … FROM STDIN`.
pub async fn copy_in(mut copy: Box<CopyIn>, wire: &mut Wire, flag: &CancelFlag) -> Result<(), Stop> {
    let binary = copy.options.format == CopyFormat::Binary;
    put_copy_response(&mut wire.out, b'G', binary, copy.schema.fields().len());
    let mut decoder = CopyDecoder::new(copy.schema.clone(), copy.options.clone());
    loop {
        match next_message(&copy, wire, flag).await? {
            Frontend::CopyData(data) => {
                decoder.push(&data);
                drop(data);
                while let Some(batch) = decoder.next_batch()? {
                    wire.until_it_ends(flag, copy.write(batch)).await??;
                }
            }
            Frontend::CopyDone => break,
            Frontend::CopyFail(message) => {
                return Err(WireError::new("57014", format!("COPY from stdin failed: {message}")).into());
            }
            Frontend::Flush | Frontend::Sync => {}
            Frontend::Terminate => return Err(End::Closed.into()),
            _ => {
                let message = "unexpected message type during COPY from stdin";
                return Err(End::Fatal(WireError::new(PROTOCOL_VIOLATION, message)).into());
            }
        }
    }
    while let Some(batch) = decoder.last_batch()? {
        wire.until_it_ends(flag, copy.write(batch)).await??;
    }
    let rows = wire.until_it_ends(flag, copy.finish()).await??;
    put_command_complete(&mut wire.out, &format!("COPY {rows}"));
    Ok(())
}

/// The client's next message, unless the statement is over first.
async fn next_message(copy: &CopyIn, wire: &mut Wire, flag: &CancelFlag) -> Result<Frontend, Stop> {
    let message = wire.next_message_during(flag);
    let Some(end) = copy.ends_at() else { return message.await };
    match tokio::time::timeout_at(end.into(), message).await {
        Ok(message) => message,
        Err(_) => {
            copy.check()?;
            Err(WireError::canceled().into())
        }
    }
}

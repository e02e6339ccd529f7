//! Frames: the unit of the write-ahead log.
//!
//! A frame is a 64-byte header and a payload padded with zeroes to a multiple of 64 bytes. Little-endian:
//!
//! ```text
//! byte  0       2    3     4            8           12             16
//!       ┌───────┬────┬─────┬────────────┬───────────┬──────────────┐
//!       │ magic │kind│flags│ header crc │ nonce     │payload bytes │
//!    16 ├───────┴────┴─────┼────────────┼───────────┼──────────────┤
//!       │ payload crc      │ stream     │ partition │ rows         │
//!    32 ├──────────────────┴────────────┼───────────┴──────────────┤
//!       │ base offset (data)            │ append time, µs since    │
//!       │ epoch (commit, proof)         │ 1970 = time of the group │
//!    48 ├───────────────────────────────┼───────────┬──────────────┤
//!       │ producer id (data)            │ producer  │ writer       │
//!       │ previous end (commit, proof)  │ sequence  │ epoch        │
//!       └───────────────────────────────┴───────────┴──────────────┘
//! ```
//!
//! - `magic` = "mf". `kind`: 1 data, 2 catalog, 3 commit, 4 proof. `flags`, producer and writer fields are 0 for now.
//! - `nonce` is the segment's: frames left over in a recycled file never count.
//! - `header crc` is CRC32C of the header with that field 0; `payload crc` covers the payload with its padding.
//! - data payload: `u32` metadata length, Arrow IPC record batch message, zeroes up to a multiple of 8, body. The schema
//!   is the stream's. Catalog payload: opaque bytes. Commit and proof have none.
//! - a commit frame ends a group: `epoch` is the group's number, `previous end` the position at which it begins.
//! - a proof frame stands where the next group will overwrite it: all before `previous end` was durable when it was
//!   written. It is never synced itself; it only tells damage of the last group from a torn write.

use crate::{Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, reader, root_as_message};
use std::collections::HashMap;

/// Size of a header, and alignment of every frame.
pub const FRAME_ALIGN: usize = 64;

/// The longest payload: one batch, or one catalog record.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

const MAGIC: u16 = u16::from_le_bytes(*b"mf");
const IPC_ALIGN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data = 1,
    Catalog = 2,
    Commit = 3,
    Proof = 4,
}

/// A header, decoded. `base` and `link` mean what `kind` says; see the drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub nonce: u32,
    pub payload_bytes: u32,
    pub payload_crc: u32,
    pub stream: ObjectId,
    pub partition: PartitionId,
    pub rows: u32,
    /// Base offset, or epoch.
    pub base: u64,
    pub append_ts: i64,
    /// Producer id, or previous end.
    pub link: u64,
}

impl Header {
    /// A commit or proof frame.
    pub fn mark(kind: Kind, nonce: u32, epoch: u64, append_ts: i64, previous_end: u64) -> Header {
        Header {
            kind,
            nonce,
            payload_bytes: 0,
            payload_crc: crc32c::crc32c(&[]),
            stream: ObjectId(0),
            partition: PartitionId(0),
            rows: 0,
            base: epoch,
            append_ts,
            link: previous_end,
        }
    }

    pub fn encode(&self) -> [u8; FRAME_ALIGN] {
        let mut bytes = [0; FRAME_ALIGN];
        bytes[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[2] = self.kind as u8;
        bytes[8..12].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.stream.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.rows.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.append_ts.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.link.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; the reason if it is none of the segment with this `nonce`.
    pub fn decode(bytes: &[u8], nonce: u32) -> Result<Header, &'static str> {
        let bytes: [u8; FRAME_ALIGN] = read(bytes, 0).ok_or("the file ends inside a frame header")?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[0..2] != MAGIC.to_le_bytes() {
            return Err("no frame starts here");
        }
        let mut unsigned = bytes;
        unsigned[4..8].fill(0);
        if crc32c::crc32c(&unsigned) != u32_at(4) {
            return Err("the frame header's checksum is wrong");
        }
        if u32_at(8) != nonce {
            return Err("the frame belongs to another segment");
        }
        let kind = match bytes[2] {
            1 => Kind::Data,
            2 => Kind::Catalog,
            3 => Kind::Commit,
            4 => Kind::Proof,
            _ => return Err("the frame's kind is unknown: a newer version wrote it"),
        };
        Ok(Header {
            kind,
            nonce,
            payload_bytes: u32_at(12),
            payload_crc: u32_at(16),
            stream: ObjectId(u32_at(20)),
            partition: PartitionId(u32_at(24)),
            rows: u32_at(28),
            base: u64_at(32),
            append_ts: u64_at(40) as i64,
            link: u64_at(48),
        })
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        FRAME_ALIGN + padded(self.payload_bytes as usize)
    }

    /// Where the rows of a data frame begin.
    pub fn base_offset(&self) -> Offset {
        Offset(self.base)
    }
}

/// `bytes` rounded up to whole units of [`FRAME_ALIGN`].
pub fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(FRAME_ALIGN)
}

/// Appends a frame to `out`; returns its header, of which nonce, base and time are still to be set.
pub fn encode_frame(
    out: &mut Vec<u8>,
    kind: Kind,
    (stream, partition): (ObjectId, PartitionId),
    rows: usize,
    payload: &[u8],
) -> Result<Header> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::Limit(format!(
            "a batch of {} bytes is more than the log takes at once ({PAYLOAD_BYTES_MAX}): split it",
            payload.len()
        )));
    }
    let start = out.len() + FRAME_ALIGN;
    out.resize(start, 0);
    out.extend_from_slice(payload);
    out.resize(start + padded(payload.len()), 0);
    let payload_crc = crc32c::crc32c(&out[start..]);
    let rows = u32::try_from(rows).map_err(|_| Error::Limit(format!("a batch of {rows} rows is too long")))?;
    let payload_bytes = payload.len() as u32;
    Ok(Header { kind, nonce: 0, payload_bytes, payload_crc, stream, partition, rows, base: 0, append_ts: 0, link: 0 })
}

/// A batch as payload of a data frame.
pub fn encode_batch(batch: &RecordBatch) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::try_new(IPC_ALIGN, false, MetadataVersion::V5)?;
    let mut dictionaries = DictionaryTracker::new(false);
    let (_, encoded) =
        IpcDataGenerator::default().encode(batch, &mut dictionaries, &options, &mut Default::default())?;
    let EncodedData { ipc_message, arrow_data } = encoded;
    let body_at = (4 + ipc_message.len()).next_multiple_of(IPC_ALIGN);
    let mut payload = Vec::with_capacity(body_at + arrow_data.len());
    payload.extend_from_slice(&(ipc_message.len() as u32).to_le_bytes());
    payload.extend_from_slice(&ipc_message);
    payload.resize(body_at, 0);
    payload.extend_from_slice(&arrow_data);
    Ok(payload)
}

/// The batch in a data payload whose checksum was right. Shares `payload`'s memory where alignment allows.
pub fn decode_batch(payload: &Buffer, schema: &SchemaRef, rows: u32) -> Result<RecordBatch, String> {
    let length: [u8; 4] = read(payload, 0).ok_or("the payload is too short")?;
    let metadata_end = 4 + u32::from_le_bytes(length) as usize;
    let metadata = payload.get(4..metadata_end).ok_or("the payload is too short for its metadata")?;
    let message = root_as_message(metadata).map_err(|e| format!("the metadata is no Arrow message: {e}"))?;
    let record_batch = message.header_as_record_batch().ok_or("the metadata is no record batch")?;
    let body_at = metadata_end.next_multiple_of(IPC_ALIGN);
    if body_at > payload.len() {
        return Err("the payload is too short for its body".into());
    }
    let body = payload.slice(body_at);
    // Arrow's reader panics on buffers beyond the body.
    let inside = |offset: i64, length: i64| match (u64::try_from(offset), u64::try_from(length)) {
        (Ok(offset), Ok(length)) => offset.checked_add(length).is_some_and(|end| end <= body.len() as u64),
        _ => false,
    };
    if record_batch.buffers().iter().flatten().any(|b| !inside(b.offset(), b.length())) {
        return Err("the batch's buffers lie outside of the payload".into());
    }
    let none = HashMap::new();
    let batch = reader::read_record_batch(&body, record_batch, schema.clone(), &none, None, &message.version())
        .map_err(|e| format!("the batch does not fit the stream's columns: {e}"))?;
    if batch.num_rows() != rows as usize {
        return Err(format!("the batch has {} rows where the header says {rows}", batch.num_rows()));
    }
    Ok(batch)
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    fn sample() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "long enough to matter"]));
        RecordBatch::try_from_iter(vec![("n", numbers), ("w", words)]).unwrap()
    }

    #[test]
    fn a_header_comes_back() {
        let header = Header::mark(Kind::Commit, 77, 5, -1, 4096);
        assert_eq!(Header::decode(&header.encode(), 77), Ok(header));
        assert!(Header::decode(&header.encode(), 78).is_err());
        assert!(Header::decode(&[0; 64], 0).is_err());
        assert!(Header::decode(&header.encode()[..63], 77).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = Header::mark(Kind::Data, 1, 2, 3, 4).encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad, 1).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_comes_back_and_slices_carry_their_rows_only() {
        let batch = sample();
        let payload = encode_batch(&batch).unwrap();
        let back = decode_batch(&Buffer::from(payload), &batch.schema(), 3).unwrap();
        assert_eq!(back, batch);
        let slice = batch.slice(1, 1);
        let back = decode_batch(&Buffer::from(encode_batch(&slice).unwrap()), &batch.schema(), 1).unwrap();
        assert_eq!(back, slice);
        assert!(decode_batch(&Buffer::from(encode_batch(&slice).unwrap()), &batch.schema(), 2).is_err());
    }

    #[test]
    fn hostile_payloads_are_refused() {
        let batch = sample();
        let payload = encode_batch(&batch).unwrap();
        for end in 0..payload.len() {
            let cut = Buffer::from(payload[..end].to_vec());
            let _ = decode_batch(&cut, &batch.schema(), 3);
        }
        let huge = Buffer::from(vec![0xff; 64]);
        assert!(decode_batch(&huge, &batch.schema(), 3).is_err());
    }
}

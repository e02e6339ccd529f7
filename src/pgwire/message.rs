//! Frames and messages of the Postgres protocol, version 3: what a client may send, decoded from exactly one frame,
//! and what the server sends, written straight into the output buffer.
//!
//! Invariants: a decoder sees one frame's bytes and nothing after them; every count and length is checked against
//! the bytes that are there before anything is allocated; a frame's claimed length is checked against its type's cap
//! before its body is buffered. Any violation is [`Malformed`], which ends the connection with 08P01; a string that is no
//! text is an error of its message alone.
//!
//! Written here because the decoders of the `pgwire` crate read past the frame they were given and panic on bodies
//! shorter than their counts, and because rows are encoded into the socket's buffer without a message in between.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest frame of Query, Parse and Bind: modules are uploaded through them.
pub const STATEMENT_FRAME_BYTES_MAX: usize = 48 << 20;
/// Longest CopyData frame.
pub const COPY_FRAME_BYTES_MAX: usize = 16 << 20;
/// Longest frame of every other message.
pub const SMALL_FRAME_BYTES_MAX: usize = 64 << 10;
/// Longest startup packet.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The client broke the protocol; the connection cannot go on.
    Broken(String),
    /// The frame is whole, but a string in it is no text.
    NotUtf8,
}

type Result<T> = std::result::Result<T, Malformed>;

/// What a prepared-statement message refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

/// A message from the client, after startup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frontend {
    Query(String),
    Parse {
        name: String,
        sql: String,
        type_oids: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target, String),
    Execute {
        portal: String,
        rows_max: i32,
    },
    Close(Target, String),
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    /// A message with a string that is no text; `query`: a Query, else one that is skipped up to Sync.
    NotUtf8 {
        query: bool,
    },
}

/// Bind: parameters are `None` for NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Ssl,
    GssEncryption,
    Cancel { pid: i32, secret: i32 },
    Startup { minor: u16, parameters: Vec<(String, String)> },
    Unsupported { major: u16, minor: u16 },
}

/// Takes the next whole frame off `buffer`; `None` = more bytes are needed.
pub fn take_frontend(buffer: &mut BytesMut) -> Result<Option<Frontend>> {
    let Some(header) = buffer.first_chunk::<5>() else { return Ok(None) };
    let [kind, a, b, c, d] = *header;
    let length = frame_length([a, b, c, d], frame_bytes_max(kind)?)?;
    if buffer.len() < 1 + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(1 + length);
    frame.advance(5);
    let mut body = Body(frame.freeze());
    match decode_frontend(kind, &mut body) {
        Err(Malformed::NotUtf8) => Ok(Some(Frontend::NotUtf8 { query: kind == b'Q' })),
        message => {
            let message = message?;
            body.finish()?;
            Ok(Some(message))
        }
    }
}

/// Bytes that the frame at the front of `buffer` still lacks, as far as its header tells.
pub fn missing_bytes(buffer: &[u8]) -> usize {
    match buffer.first_chunk::<5>() {
        Some([_, a, b, c, d]) => {
            (1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(buffer.len()).min(COPY_FRAME_BYTES_MAX)
        }
        None => 5 - buffer.len(),
    }
}

/// Takes the first packet of a connection (it carries no type byte); `None` = more bytes are needed.
pub fn take_opening(buffer: &mut BytesMut) -> Result<Option<Opening>> {
    const CANCEL: u32 = 80877102;
    const SSL: u32 = 80877103;
    const GSS: u32 = 80877104;
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = frame_length(*header, STARTUP_BYTES_MAX)?;
    if length < 8 {
        return Err(malformed("invalid length of startup packet"));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(length);
    frame.advance(4);
    let mut body = Body(frame.freeze());
    let opening = match body.u32()? {
        SSL => Opening::Ssl,
        GSS => Opening::GssEncryption,
        CANCEL => Opening::Cancel { pid: body.i32()?, secret: body.i32()? },
        version if version >> 16 == 3 => {
            Opening::Startup { minor: (version & 0xffff) as u16, parameters: startup_parameters(&mut body)? }
        }
        version => {
            return Ok(Some(Opening::Unsupported { major: (version >> 16) as u16, minor: (version & 0xffff) as u16 }));
        }
    };
    body.finish()?;
    Ok(Some(opening))
}

fn startup_parameters(body: &mut Body) -> Result<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        let name = body.string()?;
        if name.is_empty() {
            return Ok(parameters);
        }
        parameters.push((name, body.string()?));
    }
}

fn frame_bytes_max(kind: u8) -> Result<usize> {
    match kind {
        b'Q' | b'P' | b'B' => Ok(STATEMENT_FRAME_BYTES_MAX),
        b'd' => Ok(COPY_FRAME_BYTES_MAX),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' => Ok(SMALL_FRAME_BYTES_MAX),
        other => Err(malformed(format!("invalid frontend message type {other}"))),
    }
}

fn frame_length(bytes: [u8; 4], max: usize) -> Result<usize> {
    let length = u32::from_be_bytes(bytes) as usize;
    if length < 4 {
        return Err(malformed("invalid message length"));
    }
    if length > max {
        return Err(malformed(format!("message of {length} bytes is longer than the {max} bytes allowed")));
    }
    Ok(length)
}

fn decode_frontend(kind: u8, body: &mut Body) -> Result<Frontend> {
    Ok(match kind {
        b'Q' => Frontend::Query(body.string()?),
        b'P' => Frontend::Parse {
            name: body.string()?,
            sql: body.string()?,
            type_oids: body.counted(4, |body| body.u32())?,
        },
        b'B' => Frontend::Bind(Bind {
            portal: body.string()?,
            statement: body.string()?,
            parameter_formats: body.counted(2, |body| body.i16())?,
            parameters: body.counted(4, |body| body.value())?,
            result_formats: body.counted(2, |body| body.i16())?,
        }),
        b'D' => Frontend::Describe(body.target()?, body.string()?),
        b'E' => Frontend::Execute { portal: body.string()?, rows_max: body.i32()? },
        b'C' => Frontend::Close(body.target()?, body.string()?),
        b'H' => Frontend::Flush,
        b'S' => Frontend::Sync,
        b'X' => Frontend::Terminate,
        b'd' => Frontend::CopyData(std::mem::take(&mut body.0)),
        b'c' => Frontend::CopyDone,
        b'f' => Frontend::CopyFail(body.string()?),
        other => return Err(malformed(format!("invalid frontend message type {other}"))),
    })
}

fn malformed(message: impl Into<String>) -> Malformed {
    Malformed::Broken(message.into())
}

/// The rest of one frame.
struct Body(Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(self.0.split_to(length))
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(self.take(2)?.get_i16())
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn string(&mut self) -> Result<String> {
        let end = memchr::memchr(0, &self.0).ok_or_else(|| malformed("invalid string in message"))?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed::NotUtf8),
        }
    }

    fn target(&mut self) -> Result<Target> {
        match self.take(1)?.get_u8() {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(malformed(format!("invalid statement or portal kind {other}"))),
        }
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(malformed("invalid parameter length")),
            },
        }
    }

    /// A 16-bit count, then that many items of at least `bytes_min` bytes each.
    fn counted<T>(&mut self, bytes_min: usize, item: impl Fn(&mut Body) -> Result<T>) -> Result<Vec<T>> {
        let count = self.i16()? as u16 as usize;
        if count * bytes_min > self.0.len() {
            return Err(malformed("insufficient data left in message"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("invalid message format")) }
    }
}

/// A column of RowDescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDescription {
    pub name: String,
    pub type_oid: u32,
    pub type_size: i16,
    pub type_modifier: i32,
    pub format: i16,
}

/// Writes a message of type `kind`; `body` writes what follows the length.
pub fn put_message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let start = out.len();
    out.put_i32(0);
    body(out);
    patch_length(out, start);
}

/// Sets the 32-bit length at `start` to the bytes from there to the end.
pub fn patch_length(out: &mut BytesMut, start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes a NUL-terminated string; a NUL inside would end it early, so it is left out.
pub fn put_string(out: &mut BytesMut, text: &str) {
    if text.as_bytes().contains(&0) {
        out.put_slice(text.replace('\0', "").as_bytes());
    } else {
        out.put_slice(text.as_bytes());
    }
    out.put_u8(0);
}

pub fn put_authentication_ok(out: &mut BytesMut) {
    put_message(out, b'R', |out| out.put_i32(0));
}

pub fn put_parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put_message(out, b'S', |out| {
        put_string(out, name);
        put_string(out, value);
    });
}

pub fn put_backend_key(out: &mut BytesMut, pid: i32, secret: i32) {
    put_message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_i32(secret);
    });
}

pub fn put_negotiate_version(out: &mut BytesMut, newest_minor: i32, unknown: &[&str]) {
    put_message(out, b'v', |out| {
        out.put_i32(newest_minor);
        out.put_i32(unknown.len() as i32);
        for name in unknown {
            put_string(out, name);
        }
    });
}

pub fn put_ready(out: &mut BytesMut, status: u8) {
    put_message(out, b'Z', |out| out.put_u8(status));
}

pub fn put_command_complete(out: &mut BytesMut, tag: &str) {
    put_message(out, b'C', |out| put_string(out, tag));
}

pub fn put_row_description(out: &mut BytesMut, columns: &[ColumnDescription]) {
    put_message(out, b'T', |out| {
        out.put_i16(columns.len() as i16);
        for column in columns {
            put_string(out, &column.name);
            out.put_i32(0);
            out.put_i16(0);
            out.put_u32(column.type_oid);
            out.put_i16(column.type_size);
            out.put_i32(column.type_modifier);
            out.put_i16(column.format);
        }
    });
}

pub fn put_parameter_description(out: &mut BytesMut, oids: &[u32]) {
    put_message(out, b't', |out| {
        out.put_i16(oids.len() as i16);
        for oid in oids {
            out.put_u32(*oid);
        }
    });
}

/// CopyInResponse (`G`) or CopyOutResponse (`H`).
pub fn put_copy_response(out: &mut BytesMut, kind: u8, binary: bool, columns: usize) {
    let format = i16::from(binary);
    put_message(out, kind, |out| {
        out.put_i8(format as i8);
        out.put_i16(columns as i16);
        for _ in 0..columns {
            out.put_i16(format);
        }
    });
}

/// ErrorResponse (`E`) or NoticeResponse (`N`).
pub fn put_report(out: &mut BytesMut, kind: u8, fields: &[(u8, &str)]) {
    put_message(out, kind, |out| {
        for (code, value) in fields {
            out.put_u8(*code);
            put_string(out, value);
        }
        out.put_u8(0);
    });
}

/// Messages without a body.
pub fn put_parse_complete(out: &mut BytesMut) {
    put_message(out, b'1', |_| ());
}
pub fn put_bind_complete(out: &mut BytesMut) {
    put_message(out, b'2', |_| ());
}
pub fn put_close_complete(out: &mut BytesMut) {
    put_message(out, b'3', |_| ());
}
pub fn put_no_data(out: &mut BytesMut) {
    put_message(out, b'n', |_| ());
}
pub fn put_portal_suspended(out: &mut BytesMut) {
    put_message(out, b's', |_| ());
}
pub fn put_empty_query(out: &mut BytesMut) {
    put_message(out, b'I', |_| ());
}
pub fn put_copy_done(out: &mut BytesMut) {
    put_message(out, b'c', |_| ());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        put_message(&mut out, kind, |out| out.put_slice(body));
        out
    }

    #[test]
    fn decodes_bind_and_leaves_the_next_frame_alone() {
        let mut buffer = frame(b'B', b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02hi\0\0");
        buffer.extend_from_slice(&frame(b'S', b""));
        let bind = Bind {
            portal: "p".into(),
            statement: "s".into(),
            parameter_formats: vec![1],
            parameters: vec![None, Some(Bytes::from_static(b"hi"))],
            result_formats: vec![],
        };
        assert_eq!(take_frontend(&mut buffer), Ok(Some(Frontend::Bind(bind))));
        assert_eq!(take_frontend(&mut buffer), Ok(Some(Frontend::Sync)));
        assert_eq!(take_frontend(&mut buffer), Ok(None));
    }

    #[test]
    fn refuses_lies_about_length() {
        for (kind, body) in [
            (b'Q', &b"no end"[..]),
            (b'Q', b"a\0trailing"),
            (b'P', b"\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09x\0\0"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0"),
            (b'D', b"Z\0"),
            (b'E', b"\0\0"),
            (b'S', b"x"),
            (b'z', b""),
        ] {
            assert!(take_frontend(&mut frame(kind, body)).is_err(), "{} {body:?}", kind as char);
        }
        assert_eq!(take_frontend(&mut frame(b'Q', b"\xff\0")), Ok(Some(Frontend::NotUtf8 { query: true })));
        assert_eq!(take_frontend(&mut frame(b'P', b"\0\xff\0\0\0")), Ok(Some(Frontend::NotUtf8 { query: false })));
        assert!(take_frontend(&mut BytesMut::from(&b"Q\0\0\0\x03"[..])).is_err());
        assert!(take_frontend(&mut BytesMut::from(&b"S\x7f\0\0\0"[..])).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 0x9e3779b97f4a7c15u64;
        for round in 0..20_000 {
            let mut body = Vec::new();
            for _ in 0..round % 40 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                body.push(((seed >> 33) as u8) & if round % 3 == 0 { 3 } else { 0xff });
            }
            for kind in b"QPBDECHSXdcf" {
                let _ = take_frontend(&mut frame(*kind, &body));
            }
            let mut opening = BytesMut::new();
            opening.put_u32(body.len() as u32 + 4);
            opening.put_slice(&body);
            let _ = take_opening(&mut opening);
            let _ = take_frontend(&mut BytesMut::from(&body[..]));
        }
    }

    #[test]
    fn reads_every_opening() {
        let open = |bytes: &[u8]| take_opening(&mut BytesMut::from(bytes));
        assert_eq!(open(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok(Some(Opening::Ssl)));
        assert_eq!(open(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok(Some(Opening::GssEncryption)));
        assert_eq!(
            open(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09"),
            Ok(Some(Opening::Cancel { pid: 7, secret: 9 }))
        );
        let named = vec![("user".into(), "m".into())];
        assert_eq!(
            open(b"\0\0\0\x10\0\x03\0\x02user\0m\0\0"),
            Ok(Some(Opening::Startup { minor: 2, parameters: named }))
        );
        assert_eq!(open(b"\0\0\0\x11\0\x03\0\x02user\0m\0\0"), Ok(None));
        assert_eq!(open(b"\0\0\0\x08\0\x02\0\0"), Ok(Some(Opening::Unsupported { major: 2, minor: 0 })));
        assert!(open(b"\xff\xff\xff\xff").is_err());
    }
}

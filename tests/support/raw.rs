//! The protocol byte by byte, for what no driver says: odd pipelines, row limits, broken text.

use super::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longer than any answer takes.
const HANG: Duration = Duration::from_secs(60);

/// A session, its messages written and read one by one.
pub struct Raw {
    pub socket: TcpStream,
    pid: i32,
    secret: i32,
    port: u16,
}

/// A message from the server: its type and body.
pub type Message = (char, Vec<u8>);

impl Raw {
    /// Connects and reads up to the first ReadyForQuery.
    pub fn connect(server: &Server) -> Raw {
        let mut raw = Raw::open(server.port);
        raw.startup();
        let greeting = raw.read_until('Z');
        let (_, key) = greeting.iter().find(|(kind, _)| *kind == 'K').expect("BackendKeyData");
        raw.pid = i32::from_be_bytes(key[..4].try_into().unwrap());
        raw.secret = i32::from_be_bytes(key[4..].try_into().unwrap());
        raw
    }

    /// A connection that has said nothing yet.
    pub fn open(port: u16) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.set_nodelay(true).unwrap();
        Raw { socket, pid: 0, secret: 0, port }
    }

    pub fn startup(&mut self) {
        self.write_startup(b"\0\x03\0\0user\0millpond\0database\0millpond\0\0");
    }

    fn write_startup(&mut self, body: &[u8]) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.socket.write_all(&[&length[..], body].concat()).expect("the server reads");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    /// Sends `messages` in one piece, then a Sync.
    pub fn pipeline(&mut self, messages: &[Vec<u8>]) -> Vec<Message> {
        self.send(&[messages.concat(), message('S', b"")].concat());
        self.read_until('Z')
    }

    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&message('Q', &[sql.as_bytes(), b"\0"].concat()));
        self.read_until('Z')
    }

    /// Reads messages up to the first of type `last`.
    pub fn read_until(&mut self, last: char) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let next = self.read().expect("an answer, not the end");
            let kind = next.0;
            messages.push(next);
            if kind == last {
                return messages;
            }
        }
    }

    /// The next message; `None` when the server has hung up.
    pub fn read(&mut self) -> Option<Message> {
        let mut header = [0; 5];
        self.socket.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.socket.read_exact(&mut body).ok()?;
        Some((char::from(header[0]), body))
    }

    /// Sends a CancelRequest for this session's statement.
    pub fn cancel(&self) {
        let mut other = Raw::open(self.port);
        let body = [&80877102i32.to_be_bytes()[..], &self.pid.to_be_bytes(), &self.secret.to_be_bytes()].concat();
        other.write_startup(&body);
        assert!(other.read().is_none(), "a CancelRequest is not answered");
    }
}

impl Raw {
    /// Cancels this session's statement, which may not have begun yet, until there is an answer.
    pub fn cancel_until_answered(&self) {
        const PAUSE: Duration = Duration::from_millis(20);
        self.socket.set_read_timeout(Some(PAUSE)).unwrap();
        let began = Instant::now();
        loop {
            self.cancel();
            match self.socket.peek(&mut [0]) {
                Ok(_) => break,
                Err(_) => assert!(began.elapsed() < HANG, "no answer to a CancelRequest"),
            }
        }
        self.socket.set_read_timeout(Some(HANG)).unwrap();
    }
}

pub fn message(kind: char, body: &[u8]) -> Vec<u8> {
    [&[kind as u8][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message('P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message('B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat())
}

/// `target`: `S` for a statement, `P` for a portal.
pub fn describe(target: char, name: &str) -> Vec<u8> {
    message('D', &[&[target as u8][..], name.as_bytes(), b"\0"].concat())
}

pub fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    message('E', &[portal.as_bytes(), b"\0", &rows_max.to_be_bytes()].concat())
}

pub fn flush() -> Vec<u8> {
    message('H', b"")
}

/// The types of messages, as one word.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| kind).collect()
}

/// Command tags, errors as their SQLSTATE, and other messages as their type.
pub fn said(messages: &[Message]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let one = |(kind, body): &Message| match kind {
        'C' => text(body),
        'E' => body.split(|byte| *byte == 0).find_map(|f| f.strip_prefix(b"C")).map(text).unwrap_or_default(),
        other => other.to_string(),
    };
    messages.iter().map(one).collect()
}

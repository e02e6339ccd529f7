//! The handshake: from the first byte to the first ReadyForQuery.
//!
//! Encryption is refused with `N` (there is no TLS yet), and bytes that arrived together with the request are a reason
//! to hang up: they were sent before the answer was known (CVE-2021-23214). Clients are trusted without a password;
//! the process listens on loopback only.

use super::error::WireError;
use super::message::*;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Times a client may ask for encryption before it must start.
const ENCRYPTION_REQUESTS_MAX: usize = 2;
/// 3.0, as NegotiateProtocolVersion reports it.
const NEWEST_VERSION: i32 = 3 << 16;

/// What the client wants.
#[derive(Debug)]
pub enum Wanted {
    Session(Start),
    Cancel { pid: i32, secret: i32 },
}

/// A session's startup packet.
#[derive(Debug)]
pub struct Start {
    pub user: String,
    pub database: String,
    /// Settings the client asked for, in order.
    pub settings: Vec<(String, String)>,
    /// Messages to send first (NegotiateProtocolVersion).
    pub preamble: BytesMut,
    /// Bytes that came after the packet.
    pub rest: BytesMut,
}

/// Reads the opening of a connection. `Err(None)` = hang up without a word.
pub async fn read_opening(socket: &mut TcpStream) -> Result<Wanted, Option<WireError>> {
    let mut buffer = BytesMut::with_capacity(1024);
    let mut encryption_requests = 0;
    loop {
        let Some(opening) = take_opening(&mut buffer).map_err(|malformed| Some(malformed.into()))? else {
            match socket.read_buf(&mut buffer).await {
                Ok(1..) => continue,
                _ => return Err(None),
            }
        };
        match opening {
            Opening::Ssl | Opening::GssEncryption => {
                encryption_requests += 1;
                if !buffer.is_empty() {
                    let message = "received unencrypted data after encryption request";
                    return Err(Some(WireError::new("08P01", message)));
                }
                if encryption_requests > ENCRYPTION_REQUESTS_MAX || socket.write_all(b"N").await.is_err() {
                    return Err(None);
                }
            }
            Opening::Cancel { pid, secret } => return Ok(Wanted::Cancel { pid, secret }),
            Opening::Unsupported { major, minor } => {
                let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
                return Err(Some(WireError::new("0A000", message)));
            }
            Opening::Startup { minor, parameters } => {
                return start(minor, parameters, buffer).map(Wanted::Session).map_err(Some);
            }
        }
    }
}

fn start(minor: u16, parameters: Vec<(String, String)>, rest: BytesMut) -> Result<Start, WireError> {
    let (mut user, mut database, mut settings) = (String::new(), String::new(), Vec::new());
    let mut unknown = Vec::new();
    for (name, value) in &parameters {
        match name.as_str() {
            "user" => user.clone_from(value),
            "database" => database.clone_from(value),
            "options" => settings.extend(command_line_settings(value)),
            "client_encoding" => check_encoding(value)?,
            "replication" => {
                if !["false", "off", "no", "0"].contains(&value.as_str()) {
                    return Err(WireError::new("0A000", "replication connections are not supported"));
                }
            }
            name if name.starts_with("_pq_.") => unknown.push(name),
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    if user.is_empty() {
        return Err(WireError::new("28000", "no PostgreSQL user name specified in startup packet"));
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    let mut preamble = BytesMut::new();
    if minor > 0 || !unknown.is_empty() {
        put_negotiate_version(&mut preamble, NEWEST_VERSION, &unknown);
    }
    Ok(Start { user, database, settings, preamble, rest })
}

fn check_encoding(value: &str) -> Result<(), WireError> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if ["utf8", "unicode", "sqlascii"].contains(&plain.as_str()) {
        return Ok(());
    }
    Err(WireError::new("0A000", format!("client encoding \"{value}\" is not supported"))
        .hint("Set client_encoding (PGCLIENTENCODING) to UTF8."))
}

/// `-c name=value` and `--name=value` of the `options` parameter; a backslash keeps the next character.
fn command_line_settings(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (c, Some(word)) if !c.is_whitespace() => word.push(c),
            (_, Some(word)) if word.is_empty() => {}
            _ => words.push(String::new()),
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(long) => Some(long.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        if let Some((name, value)) = assignment.as_deref().and_then(|a| a.split_once('=')) {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

/// `SET` statement for a setting of the startup packet; `None` when its name could not be one.
pub fn set_statement(name: &str, value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain);
    named.then(|| format!("SET {name} TO '{}'", value.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_on_a_command_line() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            command_line_settings(r"-c statement_timeout=5s  --search-path=a\ b -cx=1 -d"),
            vec![pair("statement_timeout", "5s"), pair("search_path", "a b"), pair("x", "1")]
        );
        assert_eq!(set_statement("a'b", "x"), None);
        assert_eq!(set_statement("work_mem", "o'x").as_deref(), Some("SET work_mem TO 'o''x'"));
    }

    #[test]
    fn startup_needs_a_user_and_negotiates() {
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(start(0, vec![], BytesMut::new()).is_err());
        assert!(start(0, vec![named("user", "u"), named("client_encoding", "LATIN1")], BytesMut::new()).is_err());
        let start = start(2, vec![named("user", "u"), named("_pq_.x", "1")], BytesMut::new()).expect("a start");
        assert_eq!(start.database, "u");
        assert_eq!(&start.preamble[..], b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    }
}

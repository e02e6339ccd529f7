//! Errors as ErrorResponse carries them: SQLSTATE, message, detail, hint, position and context.

use super::message::{Malformed, put_report};
use bytes::BytesMut;

pub type Result<T, E = WireError> = std::result::Result<T, E>;

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub position: Option<usize>,
    /// Where in the data it happened, e.g. `COPY bids, line 3, column price: "x"`.
    pub context: Option<String>,
}

pub const PROTOCOL_VIOLATION: &str = "08P01";
pub const CANCELED: &str = "57014";
pub const SHUTDOWN: &str = "57P01";

impl WireError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> WireError {
        WireError { sqlstate, message: message.into(), detail: None, hint: None, position: None, context: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> WireError {
        self.hint = Some(hint.into());
        self
    }

    pub fn canceled() -> WireError {
        WireError::new(CANCELED, "canceling statement due to user request")
    }

    pub fn shutdown() -> WireError {
        WireError::new(SHUTDOWN, "terminating connection due to administrator command")
    }

    pub fn idle_in_transaction() -> WireError {
        WireError::new("25P03", "terminating connection due to idle-in-transaction timeout")
    }

    pub fn not_utf8() -> WireError {
        Malformed::NotUtf8.into()
    }

    pub fn internal(message: impl Into<String>) -> WireError {
        WireError::new("XX000", message)
    }

    /// Writes an ErrorResponse; `severity` is `ERROR` or `FATAL`.
    pub fn put(&self, out: &mut BytesMut, severity: &str) {
        let position = self.position.map(|position| position.to_string());
        let mut fields = vec![
            (b'S', severity),
            (b'V', severity),
            (b'C', self.sqlstate),
            (b'M', if self.message.is_empty() { "unknown error" } else { &self.message }),
        ];
        let optional = [(b'D', &self.detail), (b'H', &self.hint), (b'P', &position), (b'W', &self.context)];
        fields.extend(optional.iter().filter_map(|(code, value)| value.as_deref().map(|value| (*code, value))));
        put_report(out, b'E', &fields);
    }
}

/// Writes a NoticeResponse.
pub fn put_notice(out: &mut BytesMut, severity: &str, sqlstate: &str, message: &str) {
    put_report(out, b'N', &[(b'S', severity), (b'V', severity), (b'C', sqlstate), (b'M', message)]);
}

impl From<millpond_sql::Error> for WireError {
    fn from(error: millpond_sql::Error) -> WireError {
        WireError {
            sqlstate: error.sqlstate,
            message: error.message,
            detail: error.detail,
            hint: error.hint,
            position: error.position,
            context: None,
        }
    }
}

impl From<Malformed> for WireError {
    fn from(malformed: Malformed) -> WireError {
        match malformed {
            Malformed::Broken(message) => WireError::new(PROTOCOL_VIOLATION, message),
            Malformed::NotUtf8 => WireError::new("22021", "invalid byte sequence for encoding \"UTF8\""),
        }
    }
}

/// An error met while rows were being computed.
impl From<datafusion::error::DataFusionError> for WireError {
    fn from(error: datafusion::error::DataFusionError) -> WireError {
        use datafusion::error::DataFusionError;
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(sql) = inner.downcast_ref::<millpond_sql::Error>()
        {
            return sql.clone().into();
        }
        if let DataFusionError::ParquetError(_) = error.find_root() {
            return millpond_sql::Error::from(error).into();
        }
        if let DataFusionError::ResourcesExhausted(message) = error.find_root() {
            return WireError::new("53200", message.clone());
        }
        millpond_sql::Error::from(millpond_engine::Error::from(error)).into()
    }
}

impl From<arrow::error::ArrowError> for WireError {
    fn from(error: arrow::error::ArrowError) -> WireError {
        millpond_sql::Error::from(millpond_engine::Error::from(error)).into()
    }
}

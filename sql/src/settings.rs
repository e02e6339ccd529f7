//! A session's settings: what `SET` changes, `SHOW` shows and ParameterStatus reports.

use crate::error::{Error, Result};
use crate::parser::boolean;
use std::collections::BTreeMap;
use std::time::Duration;

/// Name as shown, value at the start of a session, description.
const KNOWN: [(&str, &str, &str); 28] = [
    ("application_name", "", "Name of the client, for logs."),
    ("bytea_output", "hex", "How bytea is shown."),
    ("client_encoding", "UTF8", "Encoding of text on the wire."),
    ("client_min_messages", "notice", "Least severity of messages sent to the client."),
    ("DateStyle", "ISO, MDY", "How dates are shown."),
    ("default_transaction_isolation", "read committed", "Isolation level of new transactions."),
    ("default_transaction_read_only", "off", "Whether new transactions only read."),
    ("extra_float_digits", "1", "Digits of floating-point numbers."),
    ("idle_in_transaction_session_timeout", "0", "Longest wait of a transaction for its next statement; 0: no limit."),
    ("integer_datetimes", "on", "Timestamps are integers."),
    ("IntervalStyle", "postgres", "How intervals are shown."),
    ("is_superuser", "on", "Whether the user is a superuser."),
    ("lock_timeout", "0", "Longest wait for a lock, which is never longer than 10 s; 0: 10 s."),
    ("max_identifier_length", "63", "Longest name."),
    ("max_index_keys", "32", "Most columns of a key."),
    ("millpond.read", "strict", "strict: a SELECT sees every write acknowledged before it; latest: it does not wait."),
    ("row_security", "off", "There is no row security."),
    ("search_path", "\"$user\", public", "Where names are looked up; always public."),
    ("server_encoding", "UTF8", "Encoding of stored text."),
    ("server_version", "15.0", "Version of Postgres whose protocol and SQL are followed."),
    ("server_version_num", "150000", "The same as a number."),
    ("session_authorization", "", "Name of the user."),
    ("standard_conforming_strings", "on", "Backslashes in strings are plain characters."),
    ("statement_timeout", "0", "Longest time of a statement; 0: no limit."),
    ("synchronous_commit", "on", "A commit is durable when it is acknowledged."),
    ("TimeZone", "UTC", "Time zone in which timestamptz is shown."),
    ("transaction_isolation", "read committed", "Isolation level of the transaction."),
    ("transaction_read_only", "off", "Whether the transaction only reads."),
];

/// What ParameterStatus reports.
const REPORTED: [&str; 12] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "integer_datetimes",
    "intervalstyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "timezone",
    "default_transaction_read_only",
];

/// What cannot be changed.
const FIXED: [&str; 9] = [
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "max_index_keys",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "transaction_isolation",
];

/// A custom setting (`app.user`) may be this long, and there may be this many.
const CUSTOM_BYTES_MAX: usize = 8 << 10;
const CUSTOM_COUNT_MAX: usize = 256;

/// Settings by lower-case name.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// Values before `SET LOCAL`, to be restored at the transaction's end.
    saved: BTreeMap<String, String>,
    changed: Vec<String>,
}

impl Settings {
    pub(crate) fn new(user: &str) -> Settings {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value, _)| (name.to_lowercase(), (*value).to_owned())).collect();
        values.insert("session_authorization".into(), user.to_owned());
        let changed = REPORTED.iter().map(|name| (*name).to_owned()).collect();
        Settings { values, saved: BTreeMap::new(), changed }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_lowercase()).map(String::as_str)
    }

    /// Name as shown, value, description; in order of name.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        let known = |name: &str| KNOWN.iter().find(|(k, _, _)| k.eq_ignore_ascii_case(name));
        self.values
            .iter()
            .map(|(name, value)| match known(name) {
                Some((shown, _, description)) => ((*shown).to_owned(), value.clone(), (*description).to_owned()),
                None => (name.clone(), value.clone(), String::new()),
            })
            .collect()
    }

    /// Sets `name` (`None`: to its default). Returns a warning for the client where the wish is not honoured.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Option<String>> {
        let name = name.to_lowercase();
        let default = KNOWN.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(&name)).map(|(_, v, _)| *v);
        if default.is_none() && !name.contains('.') {
            return Err(Error::new("42704", format!("unrecognized configuration parameter \"{name}\"")));
        }
        let value = value.or(default).unwrap_or_default();
        if FIXED.contains(&name.as_str()) && self.get(&name) != Some(value) {
            return Err(Error::new("55P02", format!("parameter \"{name}\" cannot be changed")));
        }
        let (value, warning) = check(&name, value)?;
        if default.is_none() && value.len() > CUSTOM_BYTES_MAX
            || self.values.len() > KNOWN.len() + CUSTOM_COUNT_MAX && !self.values.contains_key(&name)
        {
            return Err(Error::new("54000", "too many or too large custom settings"));
        }
        let before = self.values.insert(name.clone(), value.clone()).unwrap_or_default();
        if local {
            self.saved.entry(name.clone()).or_insert(before.clone());
        } else {
            self.saved.remove(&name);
        }
        if before != value {
            self.changed.push(name);
        }
        Ok(warning)
    }

    pub(crate) fn reset_all(&mut self) {
        for (name, default, _) in KNOWN {
            let name = name.to_lowercase();
            if name != "session_authorization" && self.get(&name) != Some(default) {
                self.values.insert(name.clone(), default.to_owned());
                self.changed.push(name);
            }
        }
        self.values.retain(|name, _| !name.contains('.') || name == "millpond.read");
        self.saved.clear();
    }

    /// Undoes `SET LOCAL`, and the transaction's READ ONLY.
    pub(crate) fn end_transaction(&mut self) {
        for (name, value) in std::mem::take(&mut self.saved) {
            if self.values.insert(name.clone(), value.clone()).as_ref() != Some(&value) {
                self.changed.push(name);
            }
        }
        self.set_read_only(None);
    }

    /// Makes the transaction READ ONLY or READ WRITE; `None`: what new transactions are.
    pub(crate) fn set_read_only(&mut self, read_only: Option<bool>) {
        let value = match read_only {
            Some(read_only) => on_or_off(read_only).to_owned(),
            None => self.get("default_transaction_read_only").unwrap_or("off").to_owned(),
        };
        self.values.insert("transaction_read_only".to_owned(), value);
    }

    pub(crate) fn read_only(&self) -> bool {
        self.get("transaction_read_only") == Some("on")
    }

    /// Reported settings that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, String)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort();
        changed.dedup();
        changed.retain(|name| REPORTED.contains(&name.as_str()));
        let known = |name: &str| KNOWN.iter().find(|(k, _, _)| k.eq_ignore_ascii_case(name)).map(|(k, _, _)| *k);
        changed
            .into_iter()
            .filter_map(|name| Some((known(&name)?.to_owned(), self.values.get(&name)?.clone())))
            .collect()
    }

    /// `None`: no limit.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.duration("statement_timeout")
    }

    /// `None`: no limit of the session's own.
    pub(crate) fn lock_timeout(&self) -> Option<Duration> {
        self.duration("lock_timeout")
    }

    /// `None`: no limit.
    pub(crate) fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.duration("idle_in_transaction_session_timeout")
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        let ms = self.get(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    pub(crate) fn reads_latest(&self) -> bool {
        self.get("millpond.read") == Some("latest")
    }
}

/// From the least to the most severe.
const SEVERITIES: [&str; 9] = ["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];

fn on_or_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// The value to keep, and a warning if it is not the one asked for.
fn check(name: &str, value: &str) -> Result<(String, Option<String>)> {
    let invalid = |hint: &str| {
        Err(Error::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\"")).with_hint(hint))
    };
    match name {
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => match milliseconds(value) {
            Some(ms) => Ok((ms.to_string(), None)),
            None => invalid("Give milliseconds, or a number with the unit ms, s, min or h."),
        },
        "millpond.read" => match value.to_lowercase().as_str() {
            "strict" => Ok(("strict".into(), None)),
            "latest" => Ok(("latest".into(), None)),
            _ => invalid("There are strict and latest."),
        },
        "timezone" => match value.to_lowercase().as_str() {
            "utc" | "gmt" | "etc/utc" | "zulu" | "0" | "+00" | "+00:00" => Ok(("UTC".into(), None)),
            _ => {
                Ok(("UTC".into(), Some(format!("time zone \"{value}\" is not supported; timestamptz is shown in UTC"))))
            }
        },
        "client_encoding" => match value.to_uppercase().replace('-', "").as_str() {
            "UTF8" | "UNICODE" => Ok(("UTF8".into(), None)),
            _ => invalid("The only encoding is UTF8."),
        },
        "client_min_messages" => match SEVERITIES.iter().find(|known| known.eq_ignore_ascii_case(value)) {
            Some(known) => Ok(((*known).to_owned(), None)),
            None => invalid("There are debug5 to debug1, log, notice, warning and error."),
        },
        "synchronous_commit" if matches!(value, "local" | "remote_write" | "remote_apply") => Ok((value.into(), None)),
        "standard_conforming_strings" | "synchronous_commit" => match boolean(value) {
            Some(true) => Ok(("on".into(), None)),
            _ => invalid("It is always on."),
        },
        "default_transaction_read_only" | "transaction_read_only" | "row_security" => match boolean(value) {
            Some(value) => Ok((on_or_off(value).into(), None)),
            None => invalid("Give on or off."),
        },
        "search_path" => {
            let public = |part: &str| matches!(part.trim().trim_matches('"').to_lowercase().as_str(), "public");
            let warning = "names are looked up in the schema public, whatever search_path says";
            let kept = value.split(',').any(public);
            Ok((value.to_owned(), (!kept).then(|| warning.to_owned())))
        }
        "default_transaction_isolation" => match value.to_lowercase().as_str() {
            "read committed" | "read uncommitted" => Ok((value.to_lowercase(), None)),
            _ => invalid("The only isolation level is read committed."),
        },
        "bytea_output" | "intervalstyle" | "datestyle" => {
            let kept = KNOWN.iter().find(|(k, _, _)| k.eq_ignore_ascii_case(name)).map_or("", |(_, v, _)| *v);
            let same = kept.to_lowercase().starts_with(value.to_lowercase().split(',').next().unwrap_or_default());
            let warning = (!same).then(|| format!("{name} is always {kept}"));
            Ok((kept.to_owned(), warning))
        }
        _ => Ok((value.to_owned(), None)),
    }
}

/// `1500`, `1500ms`, `2s`, `5min`, `1h`.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_restored() {
        let mut settings = Settings::new("anna");
        assert!(settings.take_changes().contains(&("session_authorization".into(), "anna".into())));
        settings.set("Statement_Timeout", Some("2s"), true).unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(2)));
        settings.end_transaction();
        assert_eq!(settings.statement_timeout(), None);
        assert_eq!(settings.set("nope", Some("1"), false).unwrap_err().sqlstate, "42704");
        assert_eq!(settings.set("statement_timeout", Some("x"), false).unwrap_err().sqlstate, "22023");
        assert_eq!(settings.set("server_version", Some("9"), false).unwrap_err().sqlstate, "55P02");
        assert!(settings.set("timezone", Some("Europe/Berlin"), false).unwrap().is_some());
        assert_eq!(settings.get("TimeZone"), Some("UTC"));
        settings.set("app.user", Some("7"), false).unwrap();
        settings.set("application_name", Some("psql"), false).unwrap();
        assert_eq!(settings.take_changes(), [("application_name".to_owned(), "psql".to_owned())]);
        settings.reset_all();
        assert_eq!(settings.get("app.user"), None);
    }

    #[test]
    fn wishes_are_kept_or_refused() {
        let mut settings = Settings::new("anna");
        for (name, value) in [
            ("standard_conforming_strings", "OFF"),
            ("standard_conforming_strings", "no"),
            ("synchronous_commit", "f"),
            ("row_security", "maybe"),
            ("client_min_messages", "loud"),
        ] {
            assert_eq!(settings.set(name, Some(value), false).unwrap_err().sqlstate, "22023", "{name} = {value}");
        }
        settings.set("Standard_Conforming_Strings", Some("TRUE"), false).unwrap();
        assert_eq!(settings.get("standard_conforming_strings"), Some("on"));
        assert!(settings.set("search_path", Some("app, \"Public\""), false).unwrap().is_none());
        assert!(settings.set("search_path", Some("app"), false).unwrap().is_some());
        settings.set("client_min_messages", Some("WARNING"), false).unwrap();
        assert_eq!(settings.get("client_min_messages"), Some("warning"));
        settings.set("application_name", Some("a"), true).unwrap();
        settings.set("application_name", Some("b"), false).unwrap();
        settings.set("default_transaction_read_only", Some("yes"), false).unwrap();
        settings.end_transaction();
        assert_eq!(settings.get("application_name"), Some("b"), "SET LOCAL is over");
        assert!(settings.read_only());
    }
}

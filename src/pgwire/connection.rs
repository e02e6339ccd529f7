//! One client's session: reads messages, runs statements, answers.
//!
//! Invariants: every Query and every Sync is answered by exactly one ReadyForQuery; after an error in the extended
//! protocol everything up to the next Sync is skipped; no message reaches the client twice or half.

use super::cancel::{CancelFlag, Registration};
use super::error::{WireError, put_notice};
use super::extended::{Named, deallocate_target};
use super::lane::LaneSession;
use super::message::*;
use super::results::{self, RowCursor};
use super::startup::{Start, set_statement};
use super::types::{Formats, describe};
use super::wire::{End, Stop, Wire};
use millpond_sql::{Outcome, Statement, TransactionStatus};
use std::time::Duration;

/// What ParameterStatus reports at the start, unless the session has a value of its own.
const REPORTED_SETTINGS: &[(&str, &str)] = &[
    ("server_version", "15.0 (Millpond)"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("is_superuser", "on"),
    ("session_authorization", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
];
/// Statements longer than this are parsed where they cannot hold up other connections.
const INLINE_SQL_BYTES_MAX: usize = 1 << 20;

/// A connected client.
pub struct Connection {
    pub(super) wire: Wire,
    pub(super) session: LaneSession,
    pub(super) registration: Registration,
    pub(super) named: Named,
    skip_until_sync: bool,
    /// Whether nothing came since the last ReadyForQuery.
    waits_for_client: bool,
}

impl Connection {
    pub fn new(wire: Wire, session: LaneSession, registration: Registration) -> Connection {
        Connection {
            wire,
            session,
            registration,
            named: Named::default(),
            skip_until_sync: false,
            waits_for_client: false,
        }
    }

    /// Serves the client until it leaves or must be told why it cannot stay.
    pub async fn run(&mut self, start: Start) -> End {
        self.greet(start).await;
        loop {
            let limit = self.idle_limit();
            let message = match self.wire.next_message(limit).await {
                Ok(message) => message,
                Err(end) => return end,
            };
            self.waits_for_client = false;
            let served = self.serve(message).await;
            self.registration.handle.end();
            match served {
                Ok(()) => {}
                Err(Stop::End(end)) => return end,
                Err(Stop::Error(error)) => {
                    self.skip_until_sync = true;
                    self.report(&error);
                }
            }
        }
    }

    /// How long the client may leave its transaction open and say nothing.
    fn idle_limit(&self) -> Option<Duration> {
        let is_open = self.waits_for_client && self.session.status() != TransactionStatus::Idle;
        is_open.then(|| self.session.idle_in_transaction_timeout()).flatten()
    }

    /// Says goodbye; `None` when the client has left.
    pub async fn farewell(&mut self, error: Option<WireError>) {
        self.wire.farewell(error).await;
    }

    async fn greet(&mut self, start: Start) {
        self.wire.out.extend_from_slice(&start.preamble);
        put_authentication_ok(&mut self.wire.out);
        for (name, value) in &start.settings {
            self.apply_setting(name, value).await;
        }
        for (name, default) in REPORTED_SETTINGS {
            let value = match (*name, self.session.setting(name)) {
                ("server_encoding" | "client_encoding", _) => "UTF8".to_owned(),
                ("session_authorization", None) => start.user.clone(),
                (_, Some(value)) => value,
                (_, None) => (*default).to_owned(),
            };
            put_parameter_status(&mut self.wire.out, name, &value);
        }
        self.session.take_parameter_changes();
        put_backend_key(&mut self.wire.out, self.registration.pid, self.registration.secret);
        self.ready();
    }

    /// A setting of the startup packet. One we do not know is reported, not refused: clients send many.
    async fn apply_setting(&mut self, name: &str, value: &str) {
        let Some(sql) = set_statement(name, value) else { return };
        let applied = match self.session.parse(&sql).map(|mut statements| statements.pop()) {
            Ok(Some(statement)) => {
                self.session.execute(&statement, Vec::new(), CancelFlag::default()).await.map(|_| ())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            tracing::debug!(name, value, %error, "setting of the startup packet ignored");
        }
    }

    async fn serve(&mut self, message: Frontend) -> Result<(), Stop> {
        if self.skip_until_sync && !matches!(message, Frontend::Sync | Frontend::Terminate) {
            return Ok(());
        }
        match message {
            Frontend::Query(sql) => self.query(&sql).await?,
            Frontend::Parse { name, sql, type_oids } => self.parse(name, &sql, &type_oids).await?,
            Frontend::Bind(bind) => self.bind(bind)?,
            Frontend::Describe(target, name) => self.describe(target, &name)?,
            Frontend::Execute { portal, rows_max } => {
                self.execute_portal(&portal, rows_max).await?;
                self.put_notices();
            }
            Frontend::Close(target, name) => self.close(target, &name),
            Frontend::Flush => self.wire.flush(&CancelFlag::default()).await?,
            Frontend::Sync => {
                self.skip_until_sync = false;
                self.end_implicit().await?;
                self.ready();
            }
            Frontend::Terminate => return Err(End::Closed.into()),
            Frontend::NotUtf8 { query: true } => {
                self.report(&WireError::not_utf8());
                self.end_implicit().await?;
                self.ready();
            }
            Frontend::NotUtf8 { query: false } => return Err(WireError::not_utf8().into()),
            // Left over from a COPY that failed.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => {}
        }
        Ok(())
    }

    /// A simple query: statements run in order as one transaction, the first error ends it.
    async fn query(&mut self, sql: &str) -> Result<(), Stop> {
        self.named.forget_unnamed();
        match self.run_statements(sql).await {
            Ok(()) => {}
            Err(Stop::Error(error)) => self.report(&error),
            Err(end) => return Err(end),
        }
        self.end_implicit().await?;
        self.ready();
        Ok(())
    }

    /// The query string or the pipeline is over, and with it the transaction its statements made up.
    async fn end_implicit(&mut self) -> Result<(), Stop> {
        match self.commit_implicit().await {
            Err(Stop::Error(error)) => self.report(&error),
            other => other?,
        }
        if self.session.status() == TransactionStatus::Idle {
            self.named.end_transaction();
        }
        Ok(())
    }

    async fn commit_implicit(&mut self) -> Result<(), Stop> {
        let flag = self.registration.handle.begin();
        Ok(self.wire.until_it_ends(&flag, self.session.close_implicit()).await??)
    }

    async fn run_statements(&mut self, sql: &str) -> Result<(), Stop> {
        if deallocate_target(sql).is_some_and(|what| self.deallocate(&what)) {
            put_command_complete(&mut self.wire.out, "DEALLOCATE");
            return Ok(());
        }
        let statements = match sql.len() > INLINE_SQL_BYTES_MAX {
            true => tokio::task::block_in_place(|| self.session.parse(sql))?,
            false => self.session.parse(sql)?,
        };
        if statements.is_empty() {
            put_empty_query(&mut self.wire.out);
        }
        for (index, statement) in statements.iter().enumerate() {
            // One statement alone commits by itself.
            if statements.len() > 1 {
                self.session.open_implicit();
            }
            self.run_statement(statement, index + 1 == statements.len()).await?;
            self.put_notices();
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Statement, last: bool) -> Result<(), Stop> {
        let flag = self.registration.handle.begin();
        let outcome = self.session.execute(statement, Vec::new(), flag.clone());
        match self.wire.until_it_ends(&flag, outcome).await?? {
            Outcome::Rows(rows) => {
                let mut cursor = RowCursor::new(rows, &self.session, &flag)?;
                let formats = Formats::default();
                self.put_notices();
                put_row_description(&mut self.wire.out, &describe(&cursor.schema, &formats));
                cursor.send(&mut self.wire, &formats, None).await?;
                Ok(())
            }
            other => {
                // So that a commit that fails is not preceded by the last statement's success.
                if last && matches!(other, Outcome::Complete { .. }) {
                    self.commit_implicit().await?;
                }
                self.finish_outcome(other, &flag).await
            }
        }
    }

    /// Answers an outcome that both protocols answer alike.
    pub(super) async fn finish_outcome(&mut self, outcome: Outcome, flag: &CancelFlag) -> Result<(), Stop> {
        self.put_notices();
        match outcome {
            Outcome::Empty => put_empty_query(&mut self.wire.out),
            Outcome::Complete { tag } => {
                self.named.command_finished(&tag);
                put_command_complete(&mut self.wire.out, &tag);
            }
            Outcome::Rows(_) => return Err(WireError::internal("each protocol sends rows in its own way").into()),
            Outcome::CopyIn(copy) => results::copy_in(copy, &mut self.wire, flag).await?,
            Outcome::CopyOut { rows, options } => {
                let stream = self.session.stream(rows.stream, flag.clone());
                results::copy_out(&rows.schema, stream, options, &mut self.wire, flag).await?;
            }
            Outcome::Subscribe { feed, options } => results::subscribe(feed, options, &mut self.wire, flag).await?,
        }
        Ok(())
    }

    fn report(&mut self, error: &WireError) {
        self.session.fail();
        self.put_notices();
        tracing::debug!(pid = self.registration.pid, sqlstate = error.sqlstate, message = error.message, "error");
        error.put(&mut self.wire.out, "ERROR");
    }

    fn put_notices(&mut self) {
        let notices = self.session.take_notices();
        if notices.is_empty() {
            return;
        }
        let least = self.session.setting("client_min_messages").unwrap_or_default();
        for (severity, sqlstate, message) in notices.into_iter().filter(|notice| is_wanted(&notice.0, &least)) {
            put_notice(&mut self.wire.out, &severity, &sqlstate, &message);
        }
    }

    fn ready(&mut self) {
        self.put_notices();
        for (name, value) in self.session.take_parameter_changes() {
            put_parameter_status(&mut self.wire.out, &name, &value);
        }
        let status = match self.session.status() {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        put_ready(&mut self.wire.out, status);
        self.waits_for_client = true;
    }
}

/// Whether `client_min_messages` lets a notice through.
fn is_wanted(severity: &str, least: &str) -> bool {
    match least.to_ascii_lowercase().as_str() {
        "error" | "fatal" | "panic" => false,
        "warning" => severity == "WARNING",
        _ => true,
    }
}

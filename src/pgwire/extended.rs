//! The extended query protocol: prepared statements and portals, by name.
//!
//! A statement survives until it is closed, replaced (the unnamed one) or deallocated; a portal until the transaction
//! ends. Both are bounded in number and in bytes, because a client can make them without reading a single answer.

use super::connection::Connection;
use super::error::{Result as WireResult, WireError};
use super::message::*;
use super::results::{Progress, RowCursor};
use super::types::{Formats, ZONE_SECONDS, check_columns, describe};
use super::wire::Stop;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use millpond_sql::value::decode_parameter;
use millpond_sql::value::oid::{self, oid_of_type, type_of_oid};
use millpond_sql::{Outcome, Prepared, Statement, TransactionStatus};
use std::collections::HashMap;
use std::sync::Arc;

const STATEMENTS_MAX: usize = 4096;
const PORTALS_MAX: usize = 256;
/// Text of all prepared statements of a connection, in bytes.
const STATEMENT_BYTES_MAX: usize = 96 << 20;
/// Parameters of all portals of a connection, in bytes.
const PORTAL_BYTES_MAX: usize = 128 << 20;

/// A connection's prepared statements and portals.
#[derive(Default)]
pub struct Named {
    statements: HashMap<String, Arc<PreparedStatement>>,
    statement_bytes: usize,
    portals: HashMap<String, Portal>,
}

struct PreparedStatement {
    /// `None`: the empty query.
    statement: Option<Statement>,
    prepared: Prepared,
    /// Types as ParameterDescription reports them.
    parameter_oids: Vec<u32>,
    deallocate: Option<Deallocate>,
    bytes: usize,
}

struct Portal {
    prepared: Arc<PreparedStatement>,
    parameters: Vec<ScalarValue>,
    formats: Formats,
    bytes: usize,
    state: PortalState,
}

enum PortalState {
    Ready,
    Rows(Box<RowCursor>),
    /// All rows were sent; executed again there are none, and this is said.
    Finished {
        tag: String,
    },
    Done,
}

/// `DEALLOCATE name` or `DEALLOCATE ALL`: drivers use it on statements they made through the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deallocate {
    One(String),
    All,
}

impl Named {
    fn insert(&mut self, name: String, prepared: PreparedStatement) -> WireResult<()> {
        self.remove(&name);
        if self.statements.len() >= STATEMENTS_MAX || self.statement_bytes + prepared.bytes > STATEMENT_BYTES_MAX {
            return Err(WireError::new("53400", "too many prepared statements on this connection")
                .hint("Close statements that are no longer used, or DEALLOCATE ALL."));
        }
        self.statement_bytes += prepared.bytes;
        self.statements.insert(name, Arc::new(prepared));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> bool {
        let removed = self.statements.remove(name);
        self.statement_bytes -= removed.as_ref().map_or(0, |statement| statement.bytes);
        removed.is_some()
    }

    fn clear_statements(&mut self) {
        self.statements.clear();
        self.statement_bytes = 0;
    }

    /// What a finished command means for statements and portals.
    pub fn command_finished(&mut self, tag: &str) {
        match tag {
            "DEALLOCATE ALL" => self.clear_statements(),
            "DISCARD ALL" => {
                self.clear_statements();
                self.portals.clear();
            }
            "CLOSE CURSOR ALL" => self.portals.clear(),
            _ => {}
        }
    }

    /// A simple query replaces the unnamed statement and portal.
    pub fn forget_unnamed(&mut self) {
        self.remove("");
        self.portals.remove("");
    }

    /// The transaction is over, and portals with it.
    pub fn end_transaction(&mut self) {
        self.portals.clear();
    }

    /// Whether it was a statement made through the protocol, now forgotten.
    fn deallocate(&mut self, what: &Deallocate) -> bool {
        match what {
            Deallocate::One(name) => self.remove(name),
            Deallocate::All => false,
        }
    }

    fn statement(&self, name: &str) -> WireResult<Arc<PreparedStatement>> {
        self.statements.get(name).cloned().ok_or_else(|| match name {
            "" => WireError::new("26000", "unnamed prepared statement does not exist"),
            _ => WireError::new("26000", format!("prepared statement \"{name}\" does not exist")),
        })
    }
}

fn no_portal(name: &str) -> WireError {
    WireError::new("34000", format!("portal \"{name}\" does not exist"))
}

impl Connection {
    pub async fn parse(&mut self, name: String, sql: &str, type_oids: &[u32]) -> Result<(), Stop> {
        if name.is_empty() {
            self.named.remove("");
        } else if self.named.statements.contains_key(&name) {
            return Err(WireError::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        let mut statements = self.session.parse(sql)?;
        if statements.len() > 1 {
            return Err(WireError::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        let hints: Vec<_> = type_oids.iter().map(|oid| type_of_oid(*oid)).collect();
        let statement = statements.pop();
        let prepared = match &statement {
            Some(statement) => {
                let flag = self.registration.handle.begin();
                self.wire.until_it_ends(&flag, self.session.prepare(statement, hints)).await??
            }
            None => Prepared { parameters: Vec::new(), columns: None },
        };
        if let Some(schema) = &prepared.columns {
            check_columns(schema)?;
        }
        let shown = |(index, data_type)| match type_oids.get(index) {
            None | Some(&(0 | oid::UNKNOWN)) => oid_of_type(data_type),
            Some(declared) => *declared,
        };
        let parameter_oids = prepared.parameters.iter().enumerate().map(shown).collect();
        let bytes = sql.len() + name.len() + 256;
        let deallocate = deallocate_target(sql);
        let entry = PreparedStatement { statement, prepared, parameter_oids, deallocate, bytes };
        self.named.insert(name, entry)?;
        put_parse_complete(&mut self.wire.out);
        Ok(())
    }

    pub fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let prepared = self.named.statement(&bind.statement)?;
        if !bind.portal.is_empty() && self.named.portals.contains_key(&bind.portal) {
            return Err(WireError::new("42P03", format!("cursor \"{}\" already exists", bind.portal)).into());
        }
        self.named.portals.remove(&bind.portal);
        let formats = Formats::new(bind.result_formats)?;
        let columns = prepared.prepared.columns.as_ref().map_or(0, |schema| schema.fields().len());
        if columns > 0 && !formats.fits(columns) {
            return Err(WireError::new("08P01", "bind message has wrong number of result formats").into());
        }
        let bytes = bind.parameters.iter().flatten().map(|value| value.len() + 64).sum::<usize>() + 256;
        let held: usize = self.named.portals.values().map(|portal| portal.bytes).sum();
        if self.named.portals.len() >= PORTALS_MAX || held + bytes > PORTAL_BYTES_MAX {
            return Err(WireError::new("53400", "too many open portals on this connection")
                .hint("Close portals, or end the transaction.")
                .into());
        }
        let parameters = decode_parameters(&prepared, &bind.parameters, bind.parameter_formats)?;
        let portal = Portal { prepared, parameters, formats, bytes, state: PortalState::Ready };
        self.named.portals.insert(bind.portal, portal);
        put_bind_complete(&mut self.wire.out);
        Ok(())
    }

    pub fn describe(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        let (columns, formats) = match target {
            Target::Statement => {
                let statement = self.named.statement(name)?;
                put_parameter_description(&mut self.wire.out, &statement.parameter_oids);
                (statement.prepared.columns.clone(), Formats::default())
            }
            Target::Portal => {
                let portal = self.named.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.prepared.prepared.columns.clone(), portal.formats.clone())
            }
        };
        match columns {
            Some(schema) => put_row_description(&mut self.wire.out, &describe(&schema, &formats)),
            None => put_no_data(&mut self.wire.out),
        }
        Ok(())
    }

    /// Serves DEALLOCATE of a statement made through the protocol; `false` = it is for the session to answer.
    pub fn deallocate(&mut self, what: &Deallocate) -> bool {
        self.session.status() != TransactionStatus::Failed && self.named.deallocate(what)
    }

    pub fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => {
                self.named.remove(name);
            }
            Target::Portal => {
                self.named.portals.remove(name);
            }
        }
        put_close_complete(&mut self.wire.out);
    }

    pub async fn execute_portal(&mut self, name: &str, rows_max: i32) -> Result<(), Stop> {
        let mut portal = self.named.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let rows_max = usize::try_from(rows_max).ok().filter(|max| *max > 0);
        match &portal.state {
            PortalState::Ready => {
                let flag = self.registration.handle.begin();
                portal.state = self.start_portal(&mut portal, &flag).await?;
            }
            // The statement goes on: with its own flag, which its parts look at, and the whole of its time.
            PortalState::Rows(cursor) => {
                self.registration.handle.resume(&cursor.flag());
                self.session.renew(&cursor.timeout);
            }
            PortalState::Finished { tag } => put_command_complete(&mut self.wire.out, tag),
            PortalState::Done => {
                return Err(WireError::new("55000", format!("portal \"{name}\" cannot be run")).into());
            }
        }
        if let PortalState::Rows(cursor) = &mut portal.state
            && cursor.send(&mut self.wire, &portal.formats, rows_max).await? == Progress::Finished
        {
            portal.state = PortalState::Finished { tag: cursor.tag(0) };
        }
        self.named.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    async fn start_portal(
        &mut self,
        portal: &mut Portal,
        flag: &super::cancel::CancelFlag,
    ) -> Result<PortalState, Stop> {
        let prepared = portal.prepared.clone();
        let Some(statement) = &prepared.statement else {
            put_empty_query(&mut self.wire.out);
            return Ok(PortalState::Done);
        };
        if prepared.deallocate.as_ref().is_some_and(|what| self.deallocate(what)) {
            put_command_complete(&mut self.wire.out, "DEALLOCATE");
            return Ok(PortalState::Done);
        }
        let parameters = std::mem::take(&mut portal.parameters);
        self.session.open_implicit();
        let outcome = self.session.execute(statement, parameters, flag.clone());
        match self.wire.until_it_ends(flag, outcome).await?? {
            Outcome::Rows(rows) => {
                if !same_columns(prepared.prepared.columns.as_ref(), &rows.schema) {
                    return Err(WireError::new("0A000", "cached plan must not change result type").into());
                }
                Ok(PortalState::Rows(Box::new(RowCursor::new(rows, &self.session, flag)?)))
            }
            other => {
                self.finish_outcome(other, flag).await?;
                Ok(PortalState::Done)
            }
        }
    }
}

fn decode_parameters(
    prepared: &PreparedStatement,
    values: &[Option<bytes::Bytes>],
    formats: Vec<i16>,
) -> WireResult<Vec<ScalarValue>> {
    let wanted = prepared.prepared.parameters.len();
    if values.len() != wanted {
        let message =
            format!("bind message supplies {} parameters, but prepared statement requires {wanted}", values.len());
        return Err(WireError::new("08P01", message));
    }
    let formats = Formats::new(formats)?;
    if !formats.fits(wanted) {
        return Err(WireError::new("08P01", "bind message has wrong number of parameter formats"));
    }
    let types = prepared.prepared.parameters.iter().zip(&prepared.parameter_oids);
    let mut parameters = Vec::with_capacity(wanted);
    for (index, (value, (data_type, type_oid))) in values.iter().zip(types).enumerate() {
        let decoded = decode_parameter(value.as_ref(), formats.binary(index), *type_oid, data_type, ZONE_SECONDS);
        parameters.push(decoded.map_err(|error| {
            let mut error = WireError::from(error);
            error.context = Some(format!("parameter ${}", index + 1));
            error
        })?);
    }
    Ok(parameters)
}

/// Whether the client's idea of the columns still holds.
fn same_columns(described: Option<&SchemaRef>, actual: &SchemaRef) -> bool {
    let oids = |schema: &SchemaRef| schema.fields().iter().map(|f| oid::oid_of_field(f)).collect::<Vec<_>>();
    described.is_none_or(|described| oids(described) == oids(actual))
}

/// Recognises `DEALLOCATE [PREPARE] {name | ALL}`.
pub fn deallocate_target(sql: &str) -> Option<Deallocate> {
    const LONGEST: usize = 256;
    let text = sql.trim().trim_end_matches(';').trim_end();
    if text.len() > LONGEST {
        return None;
    }
    let mut words = text.split_whitespace();
    if !words.next()?.eq_ignore_ascii_case("deallocate") {
        return None;
    }
    let mut name = words.next()?;
    if name.eq_ignore_ascii_case("prepare") {
        name = words.next()?;
    }
    if words.next().is_some() {
        return None;
    }
    if name.eq_ignore_ascii_case("all") {
        return Some(Deallocate::All);
    }
    Some(Deallocate::One(match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deallocate_is_recognised() {
        let one = |name: &str| Some(Deallocate::One(name.to_owned()));
        assert_eq!(deallocate_target("DEALLOCATE ALL;"), Some(Deallocate::All));
        assert_eq!(deallocate_target("deallocate prepare _PG3_0"), one("_pg3_0"));
        assert_eq!(deallocate_target("DEALLOCATE \"My\"\"S\""), one("My\"S"));
        assert_eq!(deallocate_target("DEALLOCATE a b"), None);
        assert_eq!(deallocate_target("SELECT 1"), None);
    }
}

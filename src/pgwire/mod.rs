//! The Postgres door: accepts connections and gives each client a session of its own.
//!
//! It speaks protocol 3.0 on a loopback address, without TLS and without passwords. A connection that breaks the
//! protocol, or panics, ends alone. Bounds: [`CONNECTIONS_MAX`] sessions, [`HANDSHAKES_MAX`] more that are still
//! starting, [`HANDSHAKE_TIMEOUT`] to start.

mod cancel;
mod connection;
mod copy_in;
mod copy_out;
mod error;
mod extended;
mod lane;
mod message;
mod results;
mod rows;
mod startup;
mod types;
mod wire;

use bytes::BytesMut;
use cancel::Connections;
use connection::Connection;
use error::WireError;
use futures::FutureExt;
use lane::{LaneSession, Lanes};
use millpond_sql::{Instance, Session};
use startup::{Start, Wanted, read_opening};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use wire::{End, Wire, stops};

/// Sessions at a time; a further client is refused with 53300.
const CONNECTIONS_MAX: usize = 200;
/// Connections beyond those that may be in their handshake (or be CancelRequests).
const HANDSHAKES_MAX: usize = 100;
/// From connect to the startup packet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connections may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept (the process has no file descriptor left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection needs.
struct Door {
    /// Not there while the database starts.
    instance: Arc<OnceLock<Arc<Instance>>>,
    connections: Arc<Connections>,
    lanes: Arc<Lanes>,
    sessions: Arc<Semaphore>,
    shutdown: watch::Receiver<bool>,
}

/// Serves clients until `shutdown` turns true, then ends their sessions. Until there is an instance they are refused.
pub async fn serve(listener: TcpListener, instance: Arc<OnceLock<Arc<Instance>>>, mut shutdown: watch::Receiver<bool>) {
    let door = Arc::new(Door {
        instance,
        connections: Arc::default(),
        lanes: Arc::default(),
        sessions: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        shutdown: shutdown.clone(),
    });
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) if tasks.len() < CONNECTIONS_MAX + HANDSHAKES_MAX => {
                    tracing::debug!(%peer, "connected");
                    tasks.spawn(door.clone().serve_socket(socket));
                }
                Ok((_, peer)) => tracing::warn!(%peer, "too many connections: hung up"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = tasks.join_next() => report_panic(ended),
            () = stops(&mut shutdown) => break,
        }
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            report_panic(ended);
        }
    };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_ended).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

impl Door {
    async fn serve_socket(self: Arc<Door>, mut socket: TcpStream) {
        // Answers are flushed when they are complete, so waiting for more to send only delays them.
        let _ = socket.set_nodelay(true);
        let mut shutdown = self.shutdown.clone();
        let opening = tokio::select! {
            opening = tokio::time::timeout(HANDSHAKE_TIMEOUT, read_opening(&mut socket)) => opening,
            () = stops(&mut shutdown) => return,
        };
        match opening {
            Ok(Ok(Wanted::Session(start))) => self.serve_session(socket, start).await,
            Ok(Ok(Wanted::Cancel { pid, secret })) => self.connections.cancel(pid, secret),
            Ok(Err(Some(error))) => refuse(socket, error).await,
            Ok(Err(None)) | Err(_) => {}
        }
    }

    async fn serve_session(&self, socket: TcpStream, mut start: Start) {
        let Some(instance) = self.instance.get() else {
            return refuse(socket, WireError::new("57P03", "the database system is starting up")).await;
        };
        let Ok(_permit) = self.sessions.clone().try_acquire_owned() else {
            return refuse(socket, WireError::new("53300", "sorry, too many clients already")).await;
        };
        let lane = match self.lanes.take() {
            Ok(lane) => lane,
            Err(error) => {
                tracing::warn!(%error, "no threads for a session");
                return refuse(socket, WireError::new("53000", "no threads left for a session")).await;
            }
        };
        let registration = self.connections.register();
        let pid = registration.pid;
        tracing::debug!(pid, user = start.user, database = start.database, "session begins");
        let inbound = std::mem::take(&mut start.rest);
        let wire = Wire::new(socket.into_split(), inbound, registration.handle.clone(), self.shutdown.clone());
        let session = LaneSession::new(Session::new(instance.clone(), &start.user, &start.database, pid), lane);
        let mut connection = Connection::new(wire, session, registration);
        let end = AssertUnwindSafe(connection.run(start)).catch_unwind().await;
        let farewell = match end {
            Ok(End::Closed) => None,
            Ok(End::Fatal(error)) => Some(error),
            Err(_) => {
                tracing::error!(pid, "a statement panicked; its connection ends");
                Some(WireError::internal("internal error: the statement failed unexpectedly; see the server's log"))
            }
        };
        let _ = AssertUnwindSafe(connection.farewell(farewell)).catch_unwind().await;
        tracing::debug!(pid, "session ended");
    }
}

async fn refuse(mut socket: TcpStream, error: WireError) {
    let mut out = BytesMut::new();
    error.put(&mut out, "FATAL");
    let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, socket.write_all_buf(&mut out)).await;
}

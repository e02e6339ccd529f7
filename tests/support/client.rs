//! tokio-postgres against a server under test.

use super::Server;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, NoTls, SimpleQueryMessage};

/// One connection; its socket is driven by a task that ends with it.
pub async fn connect(server: &Server) -> Client {
    let target = format!("host=127.0.0.1 port={} user=millpond dbname=millpond", server.port);
    connect_to(&target).await.expect("the server accepts connections")
}

/// Connects to any server that speaks the protocol.
pub async fn connect_to(target: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(target, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Cancels a statement, which may not have begun yet, until it has ended. A request may still be on its way then: nothing
/// else may run on the connection.
pub async fn cancel_until_ended<T>(token: &CancelToken, running: &JoinHandle<T>) {
    while !running.is_finished() {
        token.cancel_query(NoTls).await.expect("cancel is sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Rows of a query as text, as the server wrote it; NULL as `NULL`.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect())
            }
            _ => None,
        })
        .collect())
}

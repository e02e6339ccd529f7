//! Parameters as drivers send them: arrays, and their types where only the query tells them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use support::client::connect;
use support::{Server, scratch};
use tokio_postgres::types::{ToSql, Type};

#[tokio::test(flavor = "multi_thread")]
async fn arrays_are_parameters() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text, b bigint)");
    server.psql("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20), (3, NULL, 30)");
    let client = connect(&server).await;
    let ints: &(dyn ToSql + Sync) = &vec![1i32, 3, 77];
    let cases: [(&str, Type, &(dyn ToSql + Sync), &[i32]); 9] = [
        ("id = ANY($1)", Type::INT4_ARRAY, ints, &[1, 3]),
        ("NOT (id = ANY($1))", Type::INT4_ARRAY, ints, &[2]),
        ("id <> ALL($1)", Type::INT4_ARRAY, ints, &[2]),
        ("id = ANY($1)", Type::INT4_ARRAY, &Vec::<i32>::new(), &[]),
        ("id = ANY($1)", Type::INT4_ARRAY, &vec![None, Some(2i32)], &[2]),
        ("id < ANY($1)", Type::INT4_ARRAY, &vec![2i32, 3], &[1, 2]),
        ("b = ANY($1)", Type::INT8_ARRAY, &vec![20i64, 30], &[2, 3]),
        ("v = ANY($1)", Type::TEXT_ARRAY, &vec!["b", "c"], &[2]),
        ("b = ANY($1::int[])", Type::INT4_ARRAY, &vec![10i32], &[1]),
    ];
    for (condition, parameter, value, expected) in cases {
        let sql = format!("SELECT id FROM t WHERE {condition} ORDER BY id");
        let statement = client.prepare(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(statement.params(), [parameter], "{sql}");
        let found = client.query(&statement, &[value]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(found.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), expected, "{sql}");
    }
    let deleted = client.execute("DELETE FROM t WHERE id = ANY($1)", &[ints]).await.unwrap();
    assert_eq!(deleted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_prepared_in_sql_runs_through_the_protocol() {
    let dir = scratch();
    let server = Server::start(dir.path());
    let client = connect(&server).await;
    client.batch_execute("PREPARE twice (int) AS SELECT $1 * 2 AS twice").await.unwrap();
    let row = client.query_one("EXECUTE twice (21)", &[]).await.unwrap();
    assert_eq!((row.columns()[0].name(), row.get::<_, i32>(0)), ("twice", 42));
    client.batch_execute("DISCARD ALL").await.unwrap();
    let error = client.query("EXECUTE twice (21)", &[]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("26000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_use_that_has_a_type_gives_it() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text, b bigint)");
    server.psql("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20), (3, NULL, 30)");
    let client = connect(&server).await;
    let cases: [(&str, &[Type], &[&(dyn ToSql + Sync)], &[i32]); 6] = [
        ("ORDER BY id LIMIT $1 OFFSET $2", &[Type::INT8, Type::INT8], &[&1i64, &1i64], &[2]),
        ("WHERE id = $1 OR $1 IS NULL ORDER BY id", &[Type::INT4], &[&2i32], &[2]),
        ("WHERE $1 IS NULL OR id = $1 ORDER BY id", &[Type::INT4], &[&None::<i32>], &[1, 2, 3]),
        ("WHERE id = $1 OR b = $1 * 10 ORDER BY id LIMIT $1", &[Type::INT4], &[&1i32], &[1]),
        ("WHERE id > $1 AND b > $1 ORDER BY id", &[Type::INT4], &[&1i32], &[2, 3]),
        ("WHERE v = $2 AND b >= $1", &[Type::INT8, Type::TEXT], &[&20i64, &"b"], &[2]),
    ];
    for (rest, parameters, values, expected) in cases {
        let sql = format!("SELECT id FROM t {rest}");
        let statement = client.prepare(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        if !rest.ends_with("LIMIT $1") {
            assert_eq!(statement.params(), parameters, "{sql}");
        }
        let statement = client.prepare_typed(&sql, parameters).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let found = client.query(&statement, values).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(found.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), expected, "{sql}");
    }
}

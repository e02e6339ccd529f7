//! Runs `scripts/*.txt` through a session over a real database: statements, `----`, what they give.
//!
//! A line `-- restart` in a script closes the database and opens it again. `REWRITE=1 cargo test` writes what was given
//! into the scripts; read the diff before you commit it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use millpond_engine::database::{Database, DatabaseOptions};
use millpond_engine::function::{CallLimits, FunctionInstance, FunctionSignature, Module, ModuleHost, SkippedExport};
use millpond_sql::{Error, Instance, Outcome, Rows, Session};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A host whose every module has `add(a bigint, b bigint)`, which fails when the sum is negative.
#[derive(Debug)]
struct Adders;

#[derive(Debug)]
struct Adder([u8; 32]);

impl ModuleHost for Adders {
    fn load(&self, bytes: &[u8]) -> millpond_engine::Result<Arc<dyn Module>> {
        if !bytes.starts_with(b"\0asm") {
            return Err(millpond_engine::Error::Invalid("not a module".into()));
        }
        let mut hash = [0; 32];
        hash[..bytes.len().min(32)].copy_from_slice(&bytes[..bytes.len().min(32)]);
        Ok(Arc::new(Adder(hash)))
    }
}

impl Module for Adder {
    fn hash(&self) -> [u8; 32] {
        self.0
    }

    fn functions(&self) -> Vec<FunctionSignature> {
        vec![FunctionSignature {
            name: "add".into(),
            parameters: vec![("a".into(), DataType::Int64), ("b".into(), DataType::Int64)],
            returns: DataType::Int64,
            sees_null: vec![false, false],
        }]
    }

    fn skipped(&self) -> Vec<SkippedExport> {
        vec![]
    }

    fn instantiate(&self, _: &str, _: CallLimits) -> millpond_engine::Result<Arc<dyn FunctionInstance>> {
        Ok(Arc::new(Adder(self.0)))
    }
}

impl FunctionInstance for Adder {
    fn call(&self, arguments: &[ArrayRef], _rows: usize) -> millpond_engine::Result<ArrayRef> {
        let (a, b) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
        let sums: Int64Array = a.iter().zip(b.iter()).map(|(a, b)| Some(a? + b?)).collect();
        if sums.iter().flatten().any(|sum| sum < 0) {
            return Err(millpond_engine::Error::Function {
                sqlstate: "38000",
                function: "add".into(),
                message: "negative".into(),
                detail: String::new(),
            });
        }
        Ok(Arc::new(sums))
    }
}

struct Server {
    instance: Arc<Instance>,
    session: Session,
}

impl Server {
    async fn open(dir: &Path) -> Server {
        Server::open_with(dir, DatabaseOptions::default()).await
    }

    async fn open_with(dir: &Path, options: DatabaseOptions) -> Server {
        let database = Database::open(dir, options, Arc::new(Adders)).expect("opens");
        let instance = Instance::start(database).await.expect("starts");
        let session = Session::new(instance.clone(), "tester", "millpond", 1);
        Server { instance, session }
    }

    async fn run(&mut self, sql: &str) -> String {
        let mut out = String::new();
        match self.session.parse(sql) {
            Err(error) => write_error(&mut out, &error),
            Ok(statements) => {
                let several = statements.len() > 1;
                for statement in statements {
                    if several {
                        self.session.open_implicit();
                    }
                    let outcome = self.session.execute(&statement, vec![], Arc::new(AtomicBool::new(false))).await;
                    let result = match outcome {
                        Ok(outcome) => show(outcome, &mut out).await,
                        Err(error) => Err(error),
                    };
                    for (severity, state, message) in self.session.take_notices() {
                        writeln!(out, "{severity} {state}: {message}").unwrap();
                    }
                    if let Err(error) = result {
                        self.session.fail();
                        write_error(&mut out, &error);
                        break;
                    }
                }
                if let Err(error) = self.session.close_implicit().await {
                    write_error(&mut out, &error);
                }
            }
        }
        out
    }
}

async fn show(outcome: Outcome, out: &mut String) -> Result<(), Error> {
    match outcome {
        Outcome::Empty => writeln!(out, "EMPTY").unwrap(),
        Outcome::Complete { tag } => writeln!(out, "{tag}").unwrap(),
        Outcome::Rows(rows) => show_rows(rows, out).await?,
        Outcome::CopyOut { rows, options } => {
            writeln!(out, "{options:?}").unwrap();
            show_rows(rows, out).await?;
        }
        Outcome::CopyIn(copy) => {
            writeln!(out, "COPY IN {:?} {:?}", names(&copy.schema), copy.options).unwrap();
        }
        Outcome::Subscribe { mut feed, .. } => {
            writeln!(out, "{}", names(&feed.schema).join("|")).unwrap();
            let mut lines = Vec::new();
            let taken = tokio::task::spawn_blocking(move || {
                let mut batches = Vec::new();
                while let Some(batch) = feed.next(Duration::from_millis(200))? {
                    batches.push(batch);
                    if batches.len() > 3 {
                        break;
                    }
                }
                Ok::<_, Error>(batches)
            });
            for batch in taken.await.unwrap()? {
                push_lines(&batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).unwrap(), &mut lines);
            }
            // A snapshot has no order.
            lines.sort();
            for line in lines {
                writeln!(out, "…|{line}").unwrap();
            }
        }
    }
    Ok(())
}

async fn show_rows(rows: Rows, out: &mut String) -> Result<(), Error> {
    let Rows { schema, mut stream, tag, count, .. } = rows;
    let mut lines = Vec::new();
    while let Some(batch) = stream.next().await {
        push_lines(&batch?, &mut lines);
    }
    writeln!(out, "{}", names(&schema).join("|")).unwrap();
    for line in &lines {
        writeln!(out, "{line}").unwrap();
    }
    let suffix = if count { format!(" {}", lines.len()) } else { String::new() };
    writeln!(out, "{tag}{suffix}").unwrap();
    Ok(())
}

fn names(schema: &arrow::datatypes::Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

fn push_lines(batch: &RecordBatch, lines: &mut Vec<String>) {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    for row in 0..batch.num_rows() {
        lines.push(formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>().join("|"));
    }
}

fn write_error(out: &mut String, error: &Error) {
    let position = error.position.map(|p| format!(" at {p}")).unwrap_or_default();
    writeln!(out, "ERROR {}{position}: {}", error.sqlstate, error.message).unwrap();
    if let Some(detail) = &error.detail {
        writeln!(out, "DETAIL: {detail}").unwrap();
    }
    if let Some(hint) = &error.hint {
        writeln!(out, "HINT: {hint}").unwrap();
    }
}

/// Blocks are separated by an empty line: input lines, `----`, output lines.
async fn run_script(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path()).await;
    let mut given = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|b| !b.is_empty()) {
        let input = block.split("\n----").next().unwrap_or_default().trim_end();
        let output = if input == "-- restart" {
            let database = server.instance.database.clone();
            drop(server);
            tokio::task::spawn_blocking(move || database.shutdown()).await.unwrap().expect("shuts down");
            server = Server::open(dir.path()).await;
            "restarted\n".to_owned()
        } else {
            server.run(input).await
        };
        write!(given, "{input}\n----\n{output}\n").unwrap();
    }
    if given.trim() == text.trim() {
        return true;
    }
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, format!("{}\n", given.trim_end())).unwrap();
    } else {
        let differs = given.lines().zip(text.lines()).position(|(g, t)| g != t).unwrap_or_default();
        eprintln!("{}:{}: gave\n{given}", path.display(), differs + 1);
    }
    false
}

fn scripts() -> Vec<std::path::PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_give_what_they_say() {
    let mut failed = Vec::new();
    for path in scripts() {
        if !run_script(&path).await {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "different output: {failed:?}");
}

async fn open_with(dir: &Path, sql: &str) -> Server {
    let mut server = Server::open(dir).await;
    let out = server.run(sql).await;
    assert!(!out.contains("ERROR"), "{out}");
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_inferred_and_bound() {
    use datafusion::common::ScalarValue;
    let dir = tempfile::tempdir().unwrap();
    let mut server = open_with(dir.path(), "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(12,2))").await;
    let cases: [(&str, Vec<DataType>, Vec<ScalarValue>, &str); 5] = [
        (
            "INSERT INTO t VALUES ($1, $2, $3)",
            vec![DataType::Int32, DataType::Utf8, DataType::Decimal128(12, 2)],
            vec![1i32.into(), "one".into(), ScalarValue::Decimal128(Some(150), 12, 2)],
            "INSERT 0 1\n",
        ),
        (
            "SELECT v, $2::bigint + 1 AS x FROM t WHERE id = $1",
            vec![DataType::Int32, DataType::Int64],
            vec![1i32.into(), 41i64.into()],
            "v|x\none|42\nSELECT 1\n",
        ),
        (
            "UPDATE t SET v = $1 WHERE id = $2",
            vec![DataType::Utf8, DataType::Int32],
            vec!["uno".into(), 1i32.into()],
            "UPDATE 1\n",
        ),
        ("SELECT $1", vec![DataType::Utf8], vec!["x".into()], "?column?\nx\nSELECT 1\n"),
        ("DELETE FROM t WHERE v = $1", vec![DataType::Utf8], vec!["uno".into()], "DELETE 1\n"),
    ];
    for (sql, types, values, expected) in cases {
        let statement = server.session.parse(sql).unwrap().remove(0);
        let prepared = server.session.prepare(&statement, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(prepared.parameters, types, "{sql}");
        assert_eq!(prepared.columns.is_some(), sql.starts_with("SELECT"), "{sql}");
        let outcome = server.session.execute(&statement, values, Arc::new(AtomicBool::new(false))).await;
        let mut out = String::new();
        show(outcome.unwrap_or_else(|e| panic!("{sql}: {e:?}")), &mut out).await.unwrap();
        assert_eq!(out, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_commits_at_finish_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = open_with(dir.path(), "CREATE STREAM s (a bigint, b text DEFAULT 'none')").await;
    for finish in [false, true] {
        let statement = server.session.parse("COPY s (a) FROM STDIN").unwrap().remove(0);
        let outcome = server.session.execute(&statement, vec![], Arc::new(AtomicBool::new(false))).await.unwrap();
        let Outcome::CopyIn(mut copy) = outcome else { panic!("no copy") };
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        copy.write(RecordBatch::try_new(copy.schema.clone(), vec![column]).unwrap()).await.unwrap();
        if finish {
            assert_eq!(copy.finish().await.unwrap(), 2);
        }
        let rows = server.run("SELECT * FROM s").await;
        assert_eq!(rows, if finish { "a|b\n1|none\n2|none\nSELECT 2\n" } else { "a|b\nSELECT 0\n" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_statement_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = open_with(dir.path(), "SELECT 1").await;
    let sql = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 1000) b";
    let statement = server.session.parse(sql).unwrap().remove(0);
    let cancel = Arc::new(AtomicBool::new(false));
    let outcome = server.session.execute(&statement, vec![], cancel.clone()).await.unwrap();
    let Outcome::Rows(rows) = outcome else { panic!("no rows") };
    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = show_rows(rows, &mut String::new()).await.unwrap_err();
    assert_eq!(error.sqlstate, "57014");
    let out = server.run(&format!("SET statement_timeout = '200ms'; {sql}")).await;
    assert!(out.contains("ERROR 57014: canceling statement due to statement timeout"), "{out}");
}

/// Two sessions share the bound; what ends, goes back or fails gives its bytes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_transactions_share_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let options = DatabaseOptions { transactions_bytes_max: 1 << 20, ..Default::default() };
    let mut one = Server::open_with(dir.path(), options).await;
    let mut two =
        Server { instance: one.instance.clone(), session: Session::new(one.instance.clone(), "b", "millpond", 2) };
    assert!(
        !one.run("CREATE STREAM s (v text); CREATE TABLE t (id bigint PRIMARY KEY, v text)").await.contains("ERROR")
    );
    let insert = "INSERT INTO s SELECT repeat('x', 1000) FROM generate_series(1, 600)";
    let full = "ERROR 53200: all open transactions together may hold 1024 KiB of rows\n\
                HINT: Try again when other transactions have ended, or write in smaller ones.\n";
    for end in ["COMMIT", "ROLLBACK", "SELECT 1 / 0; COMMIT"] {
        one.run("BEGIN").await;
        assert_eq!(one.run(insert).await, "INSERT 0 600\n");
        assert_eq!(two.run(insert).await, full, "{end}");
        one.run(end).await;
        one.run("ROLLBACK").await;
        assert_eq!(two.run(insert).await, "INSERT 0 600\n", "{end}");
    }
    one.run("BEGIN; SAVEPOINT a").await;
    for _ in 0..5 {
        assert_eq!(one.run(insert).await, "INSERT 0 600\n");
        assert_eq!(one.run(insert).await, full);
        assert_eq!(one.run("ROLLBACK TO a").await, "ROLLBACK\n");
        let rows = "INSERT INTO t SELECT value, 'x' FROM generate_series(1, 2000) g(value)";
        assert_eq!(one.run(rows).await, "INSERT 0 2000\n");
        assert!(one.run("INSERT INTO t VALUES (3000, ''), (1, 'duplicate')").await.contains("23505"));
        assert_eq!(one.run("ROLLBACK TO a").await, "ROLLBACK\n");
    }
    assert_eq!(two.run(insert).await, "INSERT 0 600\n");
}

//! Golden scripts: `tests/scripts/*.sql`, each run in one psql session against a fresh server.
//!
//! A script is a list of blocks: statements (or psql commands), a line `----`, the output, an empty line. Output is what
//! psql prints unaligned, tuples only, with command tags and NULL as `NULL`; an empty line of output is written `(empty)`.
//! An error is one line: `ERROR:  42P01: message`. Where the script leaves the message out, any message will do.
//!
//! A script whose first line is `-- same in PostgreSQL` also runs on PostgreSQL, with streams as tables and
//! materialized views as views, and must print the same (of errors: the same SQLSTATE).
//! `UPDATE=1 cargo test --release --test scripts` rewrites the outputs: read the diff.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::postgres::Postgres;
use support::{Server, scratch, text};

const SHARED: &str = "-- same in PostgreSQL";
const MARK: &str = "---- end of block";

#[test]
fn scripts_print_what_they_say() {
    let mut failures = Vec::new();
    for path in scripts() {
        let script = Script::read(&path);
        let dir = scratch();
        let server = Server::start(dir.path());
        let found = script.run(&mut server.psql_command(), |sql| sql.to_owned());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, script.with_outputs(&found)).expect("the script can be written");
        } else {
            failures.extend(script.compare(&found, |expected| expected.to_owned()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn postgres_prints_the_same() {
    let postgres = Postgres::start();
    let mut failures = Vec::new();
    for (index, path) in scripts().into_iter().enumerate() {
        let script = Script::read(&path);
        if !script.preamble.starts_with(SHARED) {
            continue;
        }
        let database = format!("script_{index}");
        support::psql(&mut postgres.psql_command("postgres"), &format!("CREATE DATABASE {database};"));
        let found = script.run(&mut postgres.psql_command(&database), as_postgres);
        let code_only = |expected: &str| without_messages(&as_postgres(expected));
        failures.extend(script.compare(&found, code_only));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    let only = std::env::var("SCRIPT").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&only));
    assert!(!paths.is_empty(), "no scripts match");
    paths
}

/// The same statement in PostgreSQL's words; also for the command tags.
fn as_postgres(sql: &str) -> String {
    sql.replace("CREATE STREAM", "CREATE TABLE")
        .replace("DROP STREAM", "DROP TABLE")
        .replace("MATERIALIZED VIEW", "VIEW")
}

fn without_messages(output: &str) -> String {
    let cut = |line: &str| match line.strip_prefix("ERROR:  ") {
        Some(rest) => format!("ERROR:  {}", rest.split(':').next().unwrap_or(rest)),
        None => line.to_owned(),
    };
    output.lines().map(cut).collect::<Vec<_>>().join("\n")
}

struct Script {
    path: PathBuf,
    preamble: String,
    blocks: Vec<Block>,
}

struct Block {
    line: usize,
    input: String,
    output: String,
}

impl Script {
    fn read(path: &Path) -> Script {
        let content = std::fs::read_to_string(path).expect("the script can be read");
        let mut script = Script { path: path.to_owned(), preamble: String::new(), blocks: Vec::new() };
        let mut input: Vec<&str> = Vec::new();
        let mut lines = content.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line != "----" {
                input.push(line);
                continue;
            }
            let output: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.is_empty()).collect();
            if script.blocks.is_empty() {
                let comment = |line: &&&str| line.starts_with("--") || line.is_empty();
                let length = input.iter().take_while(comment).count();
                script.preamble = input.drain(..length).map(|line| format!("{line}\n")).collect();
            }
            let block = Block { line: number + 1, input: input.join("\n"), output: output.join("\n") };
            script.blocks.push(block);
            input.clear();
        }
        assert!(input.iter().all(|line| line.is_empty()), "{}: the last block has no ----", path.display());
        script
    }

    /// What each block prints.
    fn run(&self, psql: &mut Command, translate: impl Fn(&str) -> String) -> Vec<String> {
        let mut stdin = String::from("\\set VERBOSITY verbose\n\\pset null NULL\n");
        for block in &self.blocks {
            stdin.push_str(&translate(&block.input));
            stdin.push_str(&format!("\n\\echo {MARK}\n"));
        }
        // One pipe for both streams: psql flushes stdout before it reports an error, so their order is kept.
        let program = psql.get_program().to_owned();
        let mut merged = Command::new("sh");
        merged.arg("-c").arg("exec \"$@\" 2>&1").arg("sh").arg(program).args(psql.get_args());
        merged.envs(psql.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let printed = text(&support::psql(&mut merged, &stdin).stdout);
        let printed = printed.strip_prefix("Null display is \"NULL\".\n").unwrap_or(&printed);
        let blocks: Vec<String> = printed.split(&format!("{MARK}\n")).map(tidy_output).collect();
        assert!(blocks.len() > self.blocks.len(), "{}: psql ended early:\n{printed}", self.path.display());
        blocks[..self.blocks.len()].to_vec()
    }

    fn compare(&self, found: &[String], expect: impl Fn(&str) -> String) -> Vec<String> {
        let differs = |(block, found): &(&Block, &String)| !same(&expect(&block.output), found);
        let describe = |(block, found): (&Block, &String)| {
            let place = format!("{}:{}", self.path.display(), block.line);
            format!("{place}\n{}\n---- expected\n{}\n---- found\n{found}\n", block.input, expect(&block.output))
        };
        self.blocks.iter().zip(found).filter(differs).map(describe).collect()
    }

    /// The script with these outputs. Errors whose message was left out stay so if the code is the same.
    fn with_outputs(&self, found: &[String]) -> String {
        let mut content = self.preamble.clone();
        for (block, found) in self.blocks.iter().zip(found) {
            let output = if same(&block.output, found) { &block.output } else { found };
            let newline = if output.is_empty() { "" } else { "\n" };
            content.push_str(&format!("{}\n----\n{output}{newline}\n", block.input));
        }
        content
    }
}

/// Errors as one line, empty lines made visible; what repeats the statement or names a source file goes.
fn tidy_output(printed: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut inside_error = false;
    for line in printed.lines() {
        if let Some(start) = line.find("ERROR:  ") {
            lines.push(line[start..].to_owned());
            inside_error = true;
        } else if line.contains("NOTICE:  ") || line.contains("WARNING:  ") {
            inside_error = true; // notices are advice, not results
        } else if inside_error && is_error_detail(line) {
            continue;
        } else {
            inside_error = false;
            lines.push(if line.is_empty() { "(empty)".to_owned() } else { line.to_owned() });
        }
    }
    lines.join("\n")
}

fn is_error_detail(line: &str) -> bool {
    let known = [
        "LINE ",
        "DETAIL: ",
        "HINT: ",
        "LOCATION: ",
        "CONTEXT: ",
        "QUERY: ",
        "SCHEMA NAME",
        "TABLE NAME",
        "CONSTRAINT NAME",
        "COLUMN NAME",
    ];
    known.iter().any(|start| line.trim_start().starts_with(start)) || line.trim() == "^"
}

/// Line by line; an expected `ERROR:  CODE` without a message fits any message.
fn same(expected: &str, found: &str) -> bool {
    let fits = |(expected, found): (&str, &str)| {
        let bare = expected.strip_prefix("ERROR:  ").is_some_and(|code| code.len() == 5);
        expected == found || (bare && found.starts_with(&format!("{expected}:")))
    };
    expected.lines().count() == found.lines().count() && expected.lines().zip(found.lines()).all(fits)
}

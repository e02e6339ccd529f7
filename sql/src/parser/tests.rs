//! What the parser makes of statements DataFusion does not know.

use super::*;
use crate::statement::Show;

fn one(sql: &str) -> Result<Kind> {
    let mut statements = parse(sql)?;
    assert_eq!(statements.len(), 1, "{sql}");
    Ok(Arc::unwrap_or_clone(statements.remove(0).kind))
}

#[test]
fn statements_are_split_at_semicolons_only() {
    assert_eq!(parse(" ;; -- nothing\n").unwrap().len(), 0);
    assert_eq!(parse("SELECT ';'; SELECT 2 /* ; */;").unwrap().len(), 2);
    let error = parse("SELECT 1 SELECT 2").unwrap_err();
    assert_eq!((error.sqlstate, error.position), ("42601", Some(10)));
}

#[test]
fn a_views_text_is_kept_as_written() {
    let Kind::CreateView(view) = one("CREATE MATERIALIZED VIEW \"V\" (a) AS\n SELECT é\n  FROM t -- end\n;").unwrap()
    else {
        panic!()
    };
    assert_eq!((view.name.as_str(), view.columns), ("V", vec!["a".to_owned()]));
    assert_eq!(view.text, "SELECT é\n  FROM t -- end");
}

#[test]
fn copy_has_two_spellings() {
    for sql in [
        "COPY t FROM STDIN CSV HEADER NULL 'NA' DELIMITER ';'",
        "COPY t FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'NA', DELIMITER ';')",
    ] {
        let Kind::CopyIn { options, .. } = one(sql).unwrap() else { panic!() };
        assert_eq!((options.header, options.null.as_str(), options.delimiter), (true, "NA", b';'), "{sql}");
    }
    assert!(matches!(one("COPY (SELECT 1) TO STDOUT (FORMAT binary)"), Ok(Kind::CopyOut { .. })));
    let Kind::Subscribe { snapshot, progress, .. } =
        one("COPY (SUBSCRIBE v WITH (SNAPSHOT = false, PROGRESS)) TO STDOUT").unwrap()
    else {
        panic!()
    };
    assert_eq!((snapshot, progress), (false, true));
    for sql in ["COPY BINARY t FROM STDIN", "COPY BINARY t (a) FROM STDIN", "COPY t FROM STDIN BINARY"] {
        let Kind::CopyIn { options, relation, .. } = one(sql).unwrap() else { panic!() };
        assert_eq!((options.format, relation.as_str()), (crate::copy::CopyFormat::Binary, "t"), "{sql}");
    }
    assert!(matches!(one("COPY binary FROM STDIN"), Ok(Kind::CopyIn { relation, .. }) if relation == "binary"));
    assert_eq!(one("COPY BINARY t FROM STDIN CSV").unwrap_err().sqlstate, "42601");
    assert_eq!(one("COPY t FROM STDIN (FORMAT csv, HEADER MATCH)").unwrap_err().sqlstate, "0A000");
    assert_eq!(one("COPY t FROM STDIN (QUOTE 'x')").unwrap_err().sqlstate, "0A000");
}

#[test]
fn settings_and_transactions() {
    let Kind::Set { name, value, local } = one("SET LOCAL Search_Path TO a, 'B c'").unwrap() else { panic!() };
    assert_eq!((name.as_str(), value.as_deref(), local), ("search_path", Some("a, B c"), true));
    assert!(matches!(
        one("BEGIN TRANSACTION READ WRITE, ISOLATION LEVEL READ COMMITTED"),
        Ok(Kind::Begin { read_only: Some(false), .. })
    ));
    assert!(matches!(one("SET TRANSACTION READ ONLY"), Ok(Kind::SetTransaction { read_only: Some(true) })));
    assert!(matches!(one("DISCARD PLANS"), Ok(Kind::Nothing { .. })));
    assert!(matches!(one("END WORK"), Ok(Kind::Commit)));
    assert!(matches!(one("SHOW MATERIALIZED VIEWS"), Ok(Kind::Show(Show::Objects("materialized view")))));
    assert!(matches!(one("SHOW transaction isolation level"), Ok(Kind::Show(Show::Setting(_)))));
}

#[test]
fn queries_have_other_beginnings() {
    for (sql, query) in [
        ("TABLE t", "SELECT * FROM t"),
        (
            "(TABLE \"T\" ORDER BY a) UNION ALL TABLE public.u",
            "(SELECT * FROM \"T\" ORDER BY a) UNION ALL SELECT * FROM public.u",
        ),
    ] {
        assert!(matches!(one(sql), Ok(Kind::Query(found)) if found.to_string() == query), "{sql}");
    }
    assert!(matches!(one("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a"), Ok(Kind::Insert(_))));
    assert!(matches!(one("WITH a AS (SELECT 1) DELETE FROM t WHERE x IN (TABLE a)"), Ok(Kind::Delete(_, Some(_)))));
    assert!(matches!(one("EXPLAIN (COSTS off, FORMAT text) SELECT 1"), Ok(Kind::Explain { analyze: false, .. })));
    for (sql, state) in [
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "0A000"),
        ("EXPLAIN (FORMAT json) SELECT 1", "0A000"),
        ("EXPLAIN (nope) SELECT 1", "42601"),
        ("SELECT * FROM table t", "42601"),
    ] {
        assert_eq!(one(sql).unwrap_err().sqlstate, state, "{sql}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(parse(&deep).unwrap_err().sqlstate, "54001");
}

/// No text may panic; what it means is for the other tests.
#[test]
fn any_prefix_of_a_statement_is_an_error_or_a_statement() {
    for sql in [
        "CREATE STREAM IF NOT EXISTS s (a int NOT NULL, KEY (a)) WITH (partitions = 3, key = 'a') APPEND ONLY",
        "CREATE MATERIALIZED VIEW v (a, b) AS SELECT * FROM t WITH NO DATA",
        "COPY (SUBSCRIBE v WITH (SNAPSHOT = true, PROGRESS)) TO STDOUT WITH (FORMAT csv, NULL E'\\t')",
        "EXPLAIN (ANALYZE, VERBOSE off) SELECT 1",
        "DROP TABLE IF EXISTS a, \"b\" CASCADE",
        "CREATE MODULE m FROM BASE64 'AAAA'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ] {
        for (end, _) in sql.char_indices() {
            let _ = parse(&sql[..end]);
        }
        assert!(parse(sql).is_ok() || sql.contains("NO DATA"), "{sql}");
    }
}

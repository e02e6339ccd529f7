//! The style rules that a machine can check. The list of exceptions starts empty and may only shrink.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `"rule: path[: function]"` of each accepted finding. One that no longer applies fails the test.
const EXCEPTIONS: &[&str] = &[];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const FORBIDDEN_NAMES: &[&str] = &["utils", "util", "common", "core", "misc", "helpers", "helper"];
/// Spelled in two halves so that this file does not contain them.
const FORBIDDEN_TEXT: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];

#[test]
fn sources_keep_the_rules() {
    let mut findings = Vec::new();
    for path in rust_files() {
        let name = relative(&path);
        let source = std::fs::read_to_string(&path).unwrap();
        let masked = mask(&source);
        if !source.starts_with("//!") {
            findings.push(format!("starts with //!: {name}"));
        }
        let stems = Path::new(&name).iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned());
        if stems.into_iter().any(|stem| FORBIDDEN_NAMES.contains(&stem.as_str())) {
            findings.push(format!("forbidden name: {name}"));
        }
        findings
            .extend(FORBIDDEN_TEXT.iter().filter(|t| masked.contains(**t)).map(|t| format!("forbidden {t}: {name}")));
        findings.extend(sizes(&name, &masked));
    }
    let unexpected: Vec<&String> = findings.iter().filter(|f| !EXCEPTIONS.iter().any(|e| f.starts_with(e))).collect();
    let stale: Vec<&&str> = EXCEPTIONS.iter().filter(|e| !findings.iter().any(|f| f.starts_with(**e))).collect();
    assert!(unexpected.is_empty(), "\n{}", unexpected.iter().map(|f| f.as_str()).collect::<Vec<_>>().join("\n"));
    assert!(stale.is_empty(), "exceptions that are no longer needed: {stale:?}");
}

/// Every other visit of sqlparser's compiles all of its nodes once more (docs/decisions/0011).
#[test]
fn syntax_trees_are_walked_through_one_visitor() {
    for path in rust_files() {
        let name = relative(&path);
        let masked = mask(&std::fs::read_to_string(&path).unwrap());
        let visits = ["::visit(", ".visit(", "visit_expressions", "visit_relations", "visit_statements"];
        let direct = visits.iter().find(|call| masked.contains(**call));
        assert!(direct.is_none() || name == "sql/src/walk.rs", "{name}: {direct:?}: use crate::walk");
    }
}

#[test]
fn dependency_arrows_point_one_way() {
    let manifest = |path: &str| dependencies(&std::fs::read_to_string(root().join(path)).unwrap());
    let (door, sql, plugins, engine) = (
        manifest("Cargo.toml"),
        manifest("sql/Cargo.toml"),
        manifest("plugins/Cargo.toml"),
        manifest("engine/Cargo.toml"),
    );
    let refuse = |room: &str, names: &[String], forbidden: &[&str]| {
        for name in names {
            let hit = forbidden.iter().find(|f| name == *f || f.strip_suffix('*').is_some_and(|p| name.starts_with(p)));
            assert!(hit.is_none(), "{room} must not depend on {name}");
        }
    };
    let wasm = ["wasmtime*", "wasm-encoder", "wit-*"];
    refuse("millpond", &door, &[&wasm[..], &["rocksdb", "sqlparser"]].concat());
    refuse("sql", &sql, &[&wasm[..], &["rocksdb", "pgwire", "millpond-plugins", "millpond"]].concat());
    refuse(
        "plugins",
        &plugins,
        &["datafusion*", "sqlparser", "rocksdb", "pgwire", "tokio*", "millpond-sql", "millpond"],
    );
    let above = ["datafusion", "sqlparser", "pgwire", "tokio*", "async-trait", "futures", "millpond*"];
    refuse("engine", &engine, &[&wasm[..], &above[..]].concat());
    for needed in ["millpond-sql", "millpond-plugins", "millpond-engine"] {
        assert!(door.iter().any(|name| name == needed), "millpond is put together from {needed}");
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = manifest.split("[workspace.dependencies]\n").nth(1).unwrap();
    let table = table.split("\n[").next().unwrap();
    let mut entry = String::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        entry.push_str(line);
        let open = entry.matches(['[', '{']).count() > entry.matches([']', '}']).count();
        if open {
            continue;
        }
        let reason = entry.rsplit_once(" # ").map_or("", |(_, reason)| reason.trim());
        let own = entry.starts_with("millpond-");
        assert!(own || reason.len() > 5, "[workspace.dependencies]: no reason beside: {entry}");
        entry.clear();
    }
    for path in ["Cargo.toml", "engine/Cargo.toml", "sql/Cargo.toml", "plugins/Cargo.toml"] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let own_version = dependency_lines(&text).find(|line| !line.contains("workspace = true"));
        assert_eq!(own_version, None, "{path}: versions live once, in [workspace.dependencies]");
    }
}

#[test]
fn the_checker_sees_what_it_should() {
    let source = "fn a() {\n    let s = \"}\"; // }\n    let c = '{';\n    let r = r#\"{{\"#;\n}\n\nfn b<'a>(x: &'a str) -> [u8; 2] {\n\n    [1, 2]\n}\n";
    let found: Vec<(String, usize)> = functions(&mask(source)).into_iter().map(|f| (f.name, f.lines)).collect();
    assert_eq!(found, [("a".to_owned(), 5), ("b".to_owned(), 3)]);
    let tested = "//! x\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn long() {}\n}\n";
    assert_eq!(code_lines(&mask(tested)), 1);
    assert!(!mask("let x = \"todo!()\"; /* todo!() /* nested */ */").contains("todo"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = ["src", "engine", "sql", "plugins", "tests", "benches", "examples"]
        .iter()
        .map(|room| root().join(room))
        .collect();
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "the rooms were not found");
    found.sort();
    found
}

fn dependency_lines(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter(move |line| {
        if line.starts_with('[') {
            inside = ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"].contains(line);
            return false;
        }
        inside && line.contains('=') && !line.starts_with('#')
    })
}

/// Names in `[dependencies]`; what only tests use may point anywhere.
fn dependencies(manifest: &str) -> Vec<String> {
    let table = manifest.split("\n[dependencies]\n").nth(1).expect("a manifest has dependencies");
    let table = table.split("\n[").next().unwrap();
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap().to_owned();
    table.lines().filter(|line| line.contains('=')).map(name).collect()
}

fn sizes(name: &str, masked: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = code_lines(masked);
    if lines > FILE_LINES_MAX {
        findings.push(format!("file size: {name}: {lines} lines of code, at most {FILE_LINES_MAX}"));
    }
    for function in functions(masked).into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        let (function, lines) = (function.name, function.lines);
        findings.push(format!("function size: {name}: {function}: {lines} lines, at most {FUNCTION_LINES_MAX}"));
    }
    findings
}

/// Lines that hold code, without `#[cfg(test)]` modules.
fn code_lines(masked: &str) -> usize {
    let mut tests_until = 0;
    let mut count = 0;
    let starts: Vec<usize> = std::iter::once(0).chain(masked.match_indices('\n').map(|(at, _)| at + 1)).collect();
    for (line, start) in masked.lines().zip(starts) {
        if line.trim_start().starts_with("#[cfg(test)]") && masked[start..].trim_start().contains("mod ") {
            tests_until = tests_until.max(block_end(masked, start));
        }
        if start >= tests_until && !line.trim().is_empty() {
            count += 1;
        }
    }
    count
}

struct Function {
    name: String,
    lines: usize,
}

/// Every function with a body, by its non-empty lines from `fn` to the closing brace.
fn functions(masked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in masked.match_indices("fn ") {
        let before = masked[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = masked[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || !has_body(&masked[at..]) {
            continue; // `fn(…)` the type, or a declaration
        }
        let body = &masked[at..block_end(masked, at)];
        found.push(Function { name, lines: body.lines().filter(|line| !line.trim().is_empty()).count() });
    }
    found
}

/// Whether `{` comes before a `;` that is not inside brackets (as in `[u8; 2]`).
fn has_body(from_fn: &str) -> bool {
    let mut depth = 0;
    for c in from_fn.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return false,
            '{' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// The end of the first `{ … }` after `start`.
fn block_end(masked: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (at, c) in masked[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return start + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    masked.len()
}

/// The source with comments, strings and characters blanked out; newlines stay, so lines keep their numbers.
fn mask(source: &str) -> String {
    let bytes: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(&bytes, at);
        match end {
            Some(end) => {
                out.extend(bytes[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// If a comment, string or character literal starts at `at`: where it ends.
fn token_end(c: &[char], at: usize) -> Option<usize> {
    let next = c.get(at + 1).copied().unwrap_or(' ');
    let in_word = at > 0 && (c[at - 1].is_alphanumeric() || c[at - 1] == '_');
    match c[at] {
        '/' if next == '/' => Some((at..c.len()).find(|i| c[*i] == '\n').unwrap_or(c.len())),
        '/' if next == '*' => Some(comment_end(c, at)),
        '"' => Some(string_end(c, at)),
        'r' | 'b' if !in_word => raw_string_end(c, at),
        '\'' if next == '\\' => Some((at + 3..c.len()).find(|i| c[*i] == '\'').map_or(c.len(), |i| i + 1)),
        '\'' if c.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn comment_end(c: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < c.len() {
        match (c[i], c[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    c.len()
}

fn string_end(c: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < c.len() && c[i] != '"' {
        i += if c[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(c.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`; a plain `b"…"` is left to the next step.
fn raw_string_end(c: &[char], at: usize) -> Option<usize> {
    let r = if c[at] == 'b' { at + 1 } else { at };
    let hashes = c.get(r + 1..)?.iter().take_while(|c| **c == '#').count();
    if c.get(r) != Some(&'r') || c.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let from = r + 2 + hashes;
    (from..c.len()).find(|i| c[*i..].starts_with(&close)).map(|i| i + close.len()).or(Some(c.len()))
}

#[test]
fn docs_links_lead_somewhere() {
    let mut broken = BTreeMap::new();
    let docs = ["README.md", "ARCHITECTURE.md", "examples/flights/README.md"];
    let mut pages: Vec<PathBuf> = docs.iter().map(|page| root().join(page)).collect();
    for dir in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(dir)).unwrap().flatten().map(|entry| entry.path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let outside = link.is_empty() || link.contains("://");
            if !outside && !page.parent().unwrap().join(link).exists() {
                broken.insert(link.to_owned(), relative(&page));
            }
        }
    }
    assert!(broken.is_empty(), "links to files that are not there: {broken:?}");
}

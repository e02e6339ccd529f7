//! Names to OIDs and back: what `'bids'::regclass`, `16384::regclass::text` and their relatives mean.
//!
//! `public` and `pg_catalog` are on the search path, so their names need no schema.

use super::facts::{Facts, INFORMATION_SCHEMA, KeyFacts, OWNER, PG_CATALOG, PUBLIC};
use crate::value::pg_type::{TYPES, format_type, type_named};

/// Number of the only encoding.
pub(super) const UTF8: i64 = 6;

/// The OID that `text` names as a value of `pg_type` (`regclass`, `regtype`, …); `Ok(None)`: there is none.
/// Digits are an OID as they are, `-` is none.
pub(super) fn oid_named(facts: &Facts, pg_type: &str, text: &str) -> Option<i64> {
    if text == "-" {
        return Some(0);
    }
    if let Ok(oid) = text.parse::<u32>() {
        return Some(i64::from(oid));
    }
    let (schema, name) = split_name(text);
    match pg_type {
        "regclass" => relation_oid(facts, schema.as_deref(), &name),
        "regtype" => type_named(&name).map(|t| i64::from(t.oid)),
        "regnamespace" => facts.namespaces().into_iter().find(|(_, n)| *n == name).map(|(oid, _)| i64::from(oid)),
        "regrole" => (name == facts.session.user).then_some(i64::from(OWNER)),
        "regproc" | "regprocedure" => function_oid(facts, schema.as_deref(), &name),
        _ => None,
    }
}

/// The name that an OID has as a value of `pg_type`: digits where nothing has it, `-` for 0, as in Postgres.
pub(super) fn name_of(facts: &Facts, pg_type: &str, oid: i64) -> String {
    let name = match pg_type {
        _ if oid == 0 => Some("-".to_string()),
        "regclass" => relation_name(facts, oid),
        "regtype" => u32::try_from(oid).ok().map(|oid| format_type(oid, None)).filter(|name| name != "???"),
        "regnamespace" => {
            facts.namespaces().into_iter().find(|(n, _)| i64::from(*n) == oid).map(|(_, n)| quote_ident(&n))
        }
        "regrole" => (oid == i64::from(OWNER)).then(|| quote_ident(&facts.session.user)),
        "regproc" | "regprocedure" => function_name(facts, oid),
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

/// What the object would be called in an error: `relation`, `type`, ….
pub(super) fn noun(pg_type: &str) -> &'static str {
    match pg_type {
        "regclass" => "relation",
        "regtype" => "type",
        "regnamespace" => "schema",
        "regrole" => "role",
        _ => "function",
    }
}

/// The name of a schema, or '' when there is none.
pub(super) fn schema_name(facts: &Facts, oid: u32) -> String {
    facts.namespaces().into_iter().find(|(o, _)| *o == oid).map(|(_, name)| name).unwrap_or_default()
}

/// `CREATE UNIQUE INDEX …`, as `pg_get_indexdef` prints it.
pub(super) fn index_definition(key: &KeyFacts) -> String {
    let columns = key.columns().iter().map(|c| quote_ident(c)).collect::<Vec<_>>().join(", ");
    let (index, table) = (quote_ident(&key.name), quote_ident(&key.table.name));
    format!("CREATE UNIQUE INDEX {index} ON public.{table} USING btree ({columns})")
}

/// `PRIMARY KEY (…)`, as `pg_get_constraintdef` prints it.
pub(super) fn constraint_definition(key: &KeyFacts) -> String {
    let columns = key.columns().iter().map(|c| quote_ident(c)).collect::<Vec<_>>().join(", ");
    format!("PRIMARY KEY ({columns})")
}

/// An identifier as SQL spells it: quoted unless it is plain lowercase.
pub(super) fn quote_ident(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.into()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn relation_oid(facts: &Facts, schema: Option<&str>, name: &str) -> Option<i64> {
    let namespace = match schema {
        None => None,
        Some(schema) => Some(facts.namespaces().into_iter().find(|(_, n)| n == schema)?.0),
    };
    let visible = |of: u32| namespace.map_or(of != INFORMATION_SCHEMA, |wanted| wanted == of);
    let mut relations = facts.relation_names();
    relations.find(|(_, n, namespace)| n == name && visible(*namespace)).map(|(oid, ..)| i64::from(oid))
}

fn relation_name(facts: &Facts, oid: i64) -> Option<String> {
    let (_, name, namespace) = facts.relation_names().find(|(o, ..)| i64::from(*o) == oid)?;
    let name = quote_ident(&name);
    let on_path = matches!(namespace, PUBLIC | PG_CATALOG);
    Some(if on_path { name } else { format!("{}.{name}", schema_name(facts, namespace)) })
}

/// Functions of modules need their schema; the functions of types, which `pg_type` points at, are in `pg_catalog`.
fn function_oid(facts: &Facts, schema: Option<&str>, name: &str) -> Option<i64> {
    let name = name.split_once('(').map_or(name, |(name, _)| name);
    if let Some(schema) = schema.filter(|s| *s != "pg_catalog") {
        let functions = facts.functions();
        let function = functions.iter().find(|f| f.module.name == schema && f.signature.name == name)?;
        return Some(i64::from(function.oid));
    }
    let mut functions = TYPES.iter().flat_map(|t| t.functions);
    functions.find(|(oid, n)| *oid != 0 && *n == name).map(|(oid, _)| i64::from(oid))
}

fn function_name(facts: &Facts, oid: i64) -> Option<String> {
    if let Some(function) = facts.function(oid) {
        return Some(format!("{}.{}", quote_ident(&function.module.name), quote_ident(&function.signature.name)));
    }
    let mut functions = TYPES.iter().flat_map(|t| t.functions);
    functions.find(|(o, _)| i64::from(*o) == oid).map(|(_, name)| name.to_string())
}

/// Splits `schema.name`, folds what is not quoted to lowercase and takes quotes off.
fn split_name(text: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let (mut quoted, mut characters) = (false, text.trim().chars().peekable());
    while let Some(character) = characters.next() {
        let part = parts.last_mut();
        match (character, part) {
            ('"', Some(part)) if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            ('"', _) => quoted = !quoted,
            ('.', _) if !quoted => parts.push(String::new()),
            (c, Some(part)) if quoted => part.push(c),
            (c, Some(part)) => part.extend(c.to_lowercase()),
            (_, None) => {}
        }
    }
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_folded_and_unquoted() {
        assert_eq!(split_name("public.Bids"), (Some("public".into()), "bids".into()));
        assert_eq!(split_name("\"A.\"\"b\""), (None, "A.\"b".into()));
    }

    #[test]
    fn a_name_and_its_oid_are_inverse() {
        let facts = crate::pg_catalog::tests::facts();
        for (pg_type, name) in [
            ("regclass", "bids"),
            ("regclass", "t_pkey"),
            ("regclass", "pg_class"),
            ("regclass", "information_schema.tables"),
            ("regtype", "double precision"),
            ("regtype", "integer[]"),
            ("regproc", "m.f"),
            ("regproc", "array_in"),
            ("regnamespace", "m"),
        ] {
            let oid = oid_named(&facts, pg_type, name).unwrap_or_else(|| panic!("{pg_type} {name}"));
            assert_eq!(name_of(&facts, pg_type, oid), name);
        }
        assert_eq!(oid_named(&facts, "regclass", "nothing"), None);
        assert_eq!(oid_named(&facts, "regclass", "tables"), None, "information_schema is not on the search path");
        assert_eq!(name_of(&facts, "regclass", 99), "99");
    }
}

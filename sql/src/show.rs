//! SHOW: settings, objects and functions as small text tables.

use crate::error::{Error, Result};
use crate::rows::{Rows, text_rows};
use crate::settings::Settings;
use crate::statement::Show;
use crate::types::name_of;
use millpond_engine::catalog::{Catalog, Object, ObjectKind};
use std::fmt::Write;

const SETTING_COLUMNS: [&str; 3] = ["name", "setting", "description"];
const FUNCTION_COLUMNS: [&str; 4] = ["module", "function", "arguments", "returns"];

/// Columns of the answer.
pub(crate) fn columns(show: &Show) -> Vec<&str> {
    match show {
        Show::All => SETTING_COLUMNS.to_vec(),
        Show::Setting(name) => vec![name.as_str()],
        Show::Objects(_) => vec!["name", "columns"],
        Show::Functions => FUNCTION_COLUMNS.to_vec(),
        Show::Definition(_) => vec!["name", "create_sql"],
    }
}

pub(crate) fn show(show: &Show, settings: &Settings, catalog: &Catalog) -> Result<Rows> {
    let rows = match show {
        Show::All => settings.all().into_iter().map(|(n, v, d)| vec![Some(n), Some(v), Some(d)]).collect(),
        Show::Setting(name) => match settings.get(name) {
            Some(value) => vec![vec![Some(value.to_owned())]],
            None => {
                return Err(Error::new("42704", format!("unrecognized configuration parameter \"{name}\"")));
            }
        },
        Show::Objects(noun) => catalog
            .objects()
            .filter(|o| o.kind.noun() == *noun)
            .map(|o| vec![Some(o.name.clone()), Some(describe(o, catalog))])
            .collect(),
        Show::Functions => functions(catalog),
        Show::Definition(name) => {
            let object = catalog.get(name).ok_or_else(|| Error::undefined_relation(name))?;
            vec![vec![Some(object.name.clone()), Some(definition(object))]]
        }
    };
    text_rows("SHOW", &columns(show), rows)
}

fn describe(object: &Object, catalog: &Catalog) -> String {
    match catalog.module(object.id) {
        Some(module) => module.functions().iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(", "),
        None => object
            .columns
            .iter()
            .map(|c| format!("{} {}", c.name, name_of(&c.data_type)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn functions(catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for object in catalog.objects() {
        for function in catalog.module(object.id).into_iter().flat_map(|m| m.functions()) {
            let mut arguments = String::new();
            for (name, data_type) in &function.parameters {
                let separator = if arguments.is_empty() { "" } else { ", " };
                let _ = write!(arguments, "{separator}{name} {}", name_of(data_type));
            }
            rows.push(vec![
                Some(object.name.clone()),
                Some(function.name.clone()),
                Some(arguments),
                Some(name_of(&function.returns)),
            ]);
        }
    }
    rows
}

fn definition(object: &Object) -> String {
    match object.kind {
        ObjectKind::View { .. } => format!("CREATE MATERIALIZED VIEW {} AS {}", object.name, object.definition),
        _ => object.definition.clone(),
    }
}

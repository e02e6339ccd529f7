//! The catalog: what exists, under which name, as of one epoch.
//!
//! A catalog value is immutable; a change makes a new one. Changes are records of the log (so they are ordered with
//! the data and as durable) and are folded into RocksDB. Names live in one namespace, as in Postgres' `public`.

use crate::function::Module;
use crate::{Error, ObjectId, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// System columns of a stream, after its user columns: partition, offset, time of append.
pub const SYSTEM_COLUMNS: [&str; 3] = ["_partition", "_offset", "_append_ts"];

/// Arrow fields of [`SYSTEM_COLUMNS`]: `_partition` int4, `_offset` int8, `_append_ts` timestamptz.
pub fn system_fields() -> [Field; 3] {
    [
        Field::new(SYSTEM_COLUMNS[0], DataType::Int32, false),
        Field::new(SYSTEM_COLUMNS[1], DataType::Int64, false),
        Field::new(SYSTEM_COLUMNS[2], DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]
}

/// A user column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(serialize_with = "type_to_text", deserialize_with = "type_from_text")]
    pub data_type: DataType,
    pub nullable: bool,
}

fn type_to_text<S: Serializer>(data_type: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&data_type.to_string())
}

fn type_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DataType, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// What kind of object, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// An append-only, partitioned log. `key`: columns whose hash chooses the partition; empty = spread evenly.
    Stream { partitions: u32, key: Vec<usize> },
    /// A keyed relation; its changelog is the log of the same id (one partition). `key`: the primary key columns.
    Table { key: Vec<usize> },
    /// A materialized view.
    View { append_only: bool, inputs: Vec<ObjectId> },
    /// An uploaded module, by the SHA-256 of its bytes.
    Module { hash: [u8; 32] },
}

impl ObjectKind {
    /// The word users know it by.
    pub fn noun(&self) -> &'static str {
        match self {
            ObjectKind::Stream { .. } => "stream",
            ObjectKind::Table { .. } => "table",
            ObjectKind::View { .. } => "materialized view",
            ObjectKind::Module { .. } => "module",
        }
    }
}

/// A catalog entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub id: ObjectId,
    pub name: String,
    pub kind: ObjectKind,
    /// User columns; empty for modules.
    pub columns: Vec<Column>,
    /// The text that made it, opaque to the engine. For a view: its query.
    pub definition: String,
    /// Modules whose functions the definition calls.
    pub modules: Vec<ObjectId>,
}

impl Object {
    /// User columns as an Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.user_fields()))
    }

    /// User columns followed by the system columns (streams), or the user columns alone (tables, views).
    pub fn full_schema(&self) -> SchemaRef {
        let mut fields = self.user_fields();
        if matches!(self.kind, ObjectKind::Stream { .. }) {
            fields.extend(system_fields());
        }
        Arc::new(Schema::new(fields))
    }

    fn user_fields(&self) -> Vec<Field> {
        self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable)).collect()
    }
}

/// All objects as of one moment. Cheap to clone behind `Arc`.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    names: HashMap<String, ObjectId>,
    modules: HashMap<ObjectId, Arc<dyn Module>>,
}

impl Catalog {
    /// A catalog of these objects and compiled modules, for tests of what reads one.
    #[doc(hidden)]
    pub fn from_objects(objects: Vec<Object>, modules: HashMap<ObjectId, Arc<dyn Module>>) -> Catalog {
        let names = objects.iter().map(|o| (o.name.clone(), o.id)).collect();
        Catalog { objects: objects.into_iter().map(|o| (o.id, Arc::new(o))).collect(), names, modules }
    }

    /// The object of this exact name.
    pub fn get(&self, name: &str) -> Option<&Arc<Object>> {
        self.names.get(name).and_then(|id| self.objects.get(id))
    }

    /// The object of this id.
    pub fn by_id(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }

    /// All objects in order of creation.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The compiled module of this id.
    pub fn module(&self, id: ObjectId) -> Option<&Arc<dyn Module>> {
        self.modules.get(&id)
    }

    /// Objects that read from or call `id` directly.
    pub fn dependents(&self, id: ObjectId) -> Vec<Arc<Object>> {
        self.objects()
            .filter(|o| {
                o.modules.contains(&id) || matches!(&o.kind, ObjectKind::View { inputs, .. } if inputs.contains(&id))
            })
            .cloned()
            .collect()
    }

    /// Adds `object`; `module` is its compiled form if it is a module.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub(crate) fn insert(&mut self, object: Arc<Object>, module: Option<Arc<dyn Module>>) -> Result<()> {
        if let Some(other) = self.get(&object.name) {
            return Err(Error::AlreadyExists(format!("{} \"{}\" already exists", other.kind.noun(), object.name)));
        }
        self.names.insert(object.name.clone(), object.id);
        self.modules.extend(module.map(|m| (object.id, m)));
        self.objects.insert(object.id, object);
        Ok(())
    }

    /// Removes `id`, if it is there.
    pub(crate) fn remove(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.remove(&id) {
            self.names.remove(&object.name);
            self.modules.remove(&id);
        }
    }
}

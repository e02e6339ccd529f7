//! A database in a directory, for tests of what survives and what is refused.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests, each uses a part")]

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_engine::catalog::Column;
use millpond_engine::database::{Create, Database, DatabaseOptions};
use millpond_engine::function::{Module, ModuleHost};
use millpond_engine::plan::Plan;
use millpond_engine::{Error, ObjectId, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct NoModules;

impl ModuleHost for NoModules {
    fn load(&self, _: &[u8]) -> Result<Arc<dyn Module>> {
        Err(Error::Unsupported("no modules here".into()))
    }
}

/// The plan of a view, by its name; what a restart gives the view.
pub type Plans<'a> = &'a dyn Fn(&str) -> Result<Plan>;

pub fn open(dir: &Path, plans: Plans<'_>) -> Arc<Database> {
    let database = Database::open(dir, DatabaseOptions::default(), Arc::new(NoModules)).unwrap();
    for view in database.detached_views() {
        database.attach_view(view.id, plans(&view.name));
    }
    database.start().unwrap();
    database
}

pub fn no_views(name: &str) -> Result<Plan> {
    panic!("there is no view {name}")
}

pub fn close(database: Arc<Database>) {
    database.shutdown().unwrap();
    assert_eq!(Arc::strong_count(&database), 1, "nothing keeps the directory open");
}

pub fn numbers() -> Vec<Column> {
    vec![Column { name: "n".into(), data_type: DataType::Int64, nullable: true }]
}

pub fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

pub fn create_stream(database: &Database, name: &str) -> ObjectId {
    let create =
        Create::Stream { name: name.into(), columns: numbers(), partitions: 1, key: vec![], definition: String::new() };
    database.create(create).unwrap()
}

pub fn append(database: &Arc<Database>, stream: ObjectId, values: impl IntoIterator<Item = i64>) {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let mut transaction = database.transaction();
    transaction.append(stream, RecordBatch::try_new(schema(), vec![column]).unwrap()).unwrap();
    transaction.commit().unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

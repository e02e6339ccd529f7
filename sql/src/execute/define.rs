//! Statements that change the catalog: CREATE and DROP. They take effect at once, also inside a transaction block;
//! what an implicit block wrote before them is committed first.

use crate::ddl;
use crate::error::{Error, Result};
use crate::lower::meets_all_rows;
use crate::rows::Limits;
use crate::session::{Outcome, Session, complete};
use crate::statement::{CreateView, DropNoun, Kind};
use crate::view;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, Object, ObjectKind};
use millpond_engine::database::{self, BackfillProgress, Create};
use millpond_engine::function::Module;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// How often a backfill says in the log how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Most exports that CREATE MODULE names because they cannot be called.
const SKIPPED_NOTICES_MAX: usize = 16;

impl Session {
    pub(super) async fn create(&mut self, kind: &Kind, limits: &Limits) -> Result<Outcome> {
        let (name, if_not_exists, tag) = match kind {
            Kind::CreateStream(create) => (&create.name, create.if_not_exists, "CREATE STREAM"),
            Kind::CreateTable(create) => (&create.name, create.if_not_exists, "CREATE TABLE"),
            Kind::CreateModule { name, if_not_exists, .. } => (name, *if_not_exists, "CREATE MODULE"),
            Kind::CreateView(create) => (&create.name, create.if_not_exists, "CREATE MATERIALIZED VIEW"),
            _ => return Err(Error::internal("not a CREATE statement")),
        };
        check_name(name)?;
        let existing = self.instance.database.catalog().get(name).cloned();
        if let Some(existing) = existing {
            let message = format!("relation \"{name}\" already exists");
            if !if_not_exists {
                let hint = format!("It is a {}.", existing.kind.noun());
                return Err(Error::new("42P07", message).with_hint(hint));
            }
            self.notice("NOTICE", "42P07", format!("{message}, skipping"));
            return Ok(complete(tag));
        }
        self.before_definition().await?;
        match kind {
            Kind::CreateStream(create) => {
                self.create_object(ddl::stream(create)?).await?;
            }
            Kind::CreateTable(create) => {
                self.create_object(ddl::table(create)?).await?;
            }
            Kind::CreateModule { name, bytes, .. } => {
                let definition = format!("CREATE MODULE {name}");
                let module = self.compile(bytes, limits).await?;
                let create = Create::Module { name: name.clone(), bytes: bytes.clone(), module, definition };
                let id = self.create_object(create).await?;
                self.tell_skipped(name, id);
            }
            Kind::CreateView(create) => self.create_view(create, limits).await?,
            _ => {}
        }
        Ok(complete(tag))
    }

    async fn create_object(&self, what: Create) -> Result<ObjectId> {
        let database = self.instance.database.clone();
        Ok(spawn_blocking(move || database.create(what)).await??)
    }

    /// Compiles a module, which may take seconds, before anything is locked. Compiling itself cannot be stopped: when the
    /// statement ends first, its result is dropped.
    async fn compile(&self, bytes: &[u8], limits: &Limits) -> Result<Arc<dyn Module>> {
        let (host, bytes) = (self.instance.database.module_host(), bytes.to_owned());
        Ok(limits.bound(spawn_blocking(move || host.load(&bytes))).await???)
    }

    /// Says which exports of a new module SQL cannot call.
    fn tell_skipped(&mut self, name: &str, id: ObjectId) {
        let skipped = self.instance.database.module(id).map(|module| module.skipped()).unwrap_or_default();
        for export in skipped.iter().take(SKIPPED_NOTICES_MAX) {
            let what = format!("export \"{}\" of module \"{name}\" cannot be called", export.export);
            self.notice("NOTICE", "00000", format!("{what}: {}", export.reason));
        }
        if let Some(more @ 1..) = skipped.len().checked_sub(SKIPPED_NOTICES_MAX) {
            self.notice("NOTICE", "00000", format!("and {more} other exports of module \"{name}\""));
        }
    }

    async fn create_view(&mut self, create: &CreateView, limits: &Limits) -> Result<()> {
        let database = self.instance.database.clone();
        let planned = view::plan_view(&self.instance.base, database.catalog(), &create.query, &create.columns).await?;
        let meets_all = meets_all_rows(&planned.plan);
        let request = database::CreateView {
            name: create.name.clone(),
            columns: planned.columns,
            plan: planned.plan,
            definition: create.text.clone(),
            modules: planned.modules,
        };
        // A flag of our own, because a timeout must stop the backfill too.
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let name = create.name.clone();
        let mut backfill = spawn_blocking(move || {
            let said = Mutex::new(Instant::now());
            let progress = |at: BackfillProgress| {
                let mut said = said.lock();
                if said.elapsed() >= PROGRESS_INTERVAL {
                    *said = Instant::now();
                    tracing::info!(view = name, rows = at.rows_done, of = at.rows_total, "backfilling");
                }
            };
            database.create_view(request, &flag, &progress)
        });
        let created = match limits.bound(&mut backfill).await {
            Ok(done) => match done? {
                Err(error @ millpond_engine::Error::ViewFailing { .. }) => Err(Error::from(error).with_hint(
                    "The view was not created. Correct the row, or guard the expression: CASE WHEN x <> 0 THEN 1 / x END.",
                )),
                done => Ok(done.map(|_| ())?),
            },
            Err(ended) => {
                stop.store(true, Ordering::Relaxed);
                // It may have finished before it saw the flag; then the view is there.
                match backfill.await? {
                    Ok(_) => Ok(()),
                    Err(_) => Err(ended),
                }
            }
        };
        if created.is_ok() && meets_all {
            let text = "a join of the view has no equality: each change of one side looks at all rows of the other";
            self.notice("NOTICE", "00000", text);
        }
        created
    }

    pub(super) async fn drop_objects(
        &mut self,
        noun: DropNoun,
        names: &[String],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Outcome> {
        let catalog = self.instance.database.catalog();
        let mut dropped: Vec<Arc<Object>> = Vec::new();
        for name in names {
            match find(&catalog, noun, name) {
                Ok(object) if dropped.iter().any(|d| d.id == object.id) => {}
                Ok(object) => dropped.push(object),
                Err(error) if if_exists && ["42P01", "42704"].contains(&error.sqlstate) => {
                    self.notice("NOTICE", "00000", format!("{}, skipping", error.message));
                }
                Err(error) => return Err(error),
            }
        }
        let named = dropped.len();
        add_dependents(&catalog, &mut dropped);
        if !cascade && dropped.len() > named {
            return Err(in_use(&catalog, &dropped[..named]));
        }
        for object in &dropped[named..] {
            self.notice("NOTICE", "00000", format!("drop cascades to {} {}", object.kind.noun(), object.name));
        }
        if !dropped.is_empty() {
            self.before_definition().await?;
            let ids: Vec<ObjectId> = dropped.iter().map(|o| o.id).collect();
            let database = self.instance.database.clone();
            spawn_blocking(move || database.drop_objects(&ids)).await??;
        }
        Ok(complete(noun.tag()))
    }
}

/// As in Postgres: 63 bytes.
const NAME_BYTES_MAX: usize = 63;

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(Error::new("42602", format!("invalid name \"{name}\""))
            .with_hint(format!("A name has 1 to {NAME_BYTES_MAX} bytes.")));
    }
    Ok(())
}

fn find(catalog: &Catalog, noun: DropNoun, name: &str) -> Result<Arc<Object>> {
    let undefined = if noun == DropNoun::Module { "42704" } else { "42P01" };
    let missing = || Error::new(undefined, format!("{} \"{name}\" does not exist", noun.noun()));
    let object = catalog.get(name).ok_or_else(missing)?;
    let fits = match object.kind {
        // CREATE TABLE … APPEND ONLY makes a stream.
        ObjectKind::Stream { .. } => matches!(noun, DropNoun::Stream | DropNoun::Table),
        ObjectKind::Table { .. } => noun == DropNoun::Table,
        ObjectKind::View { .. } => noun == DropNoun::View,
        ObjectKind::Module { .. } => noun == DropNoun::Module,
    };
    if fits {
        return Ok(object.clone());
    }
    Err(Error::new("42809", format!("\"{name}\" is not a {}", noun.noun()))
        .with_hint(format!("Use DROP {} to remove it.", object.kind.noun().to_uppercase())))
}

/// Adds everything that depends on `objects`, directly or not.
fn add_dependents(catalog: &Catalog, objects: &mut Vec<Arc<Object>>) {
    let mut next = 0;
    while next < objects.len() {
        for dependent in catalog.dependents(objects[next].id) {
            if objects.iter().all(|o| o.id != dependent.id) {
                objects.push(dependent);
            }
        }
        next += 1;
    }
}

fn in_use(catalog: &Catalog, named: &[Arc<Object>]) -> Error {
    let mut detail = Vec::new();
    for object in named {
        for dependent in catalog.dependents(object.id) {
            let (kind, other) = (object.kind.noun(), dependent.kind.noun());
            detail.push(format!("{other} {} depends on {kind} {}", dependent.name, object.name));
        }
    }
    let first = named.first().map(|o| format!("{} {}", o.kind.noun(), o.name)).unwrap_or_default();
    Error::new("2BP01", format!("cannot drop {first} because other objects depend on it"))
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

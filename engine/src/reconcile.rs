//! At start: do log and store fit together, and what of either is left over?
//!
//! ```text
//!  changes of the catalog by epoch   1 ······ forgotten ······ folded ······ log's end
//!                                    └ not in the log any more ┘
//!                                    └ in the store ──────────────┘
//!                                                              └ folded in now ┘
//! ```
//! Law: `forgotten ≤ folded ≤ end`. Else changes are missing, and nothing is opened. Records of the log are never removed
//! because the catalog does not know their owner, but because its drop is known: a store that was lost or is too old
//! must not take the data with it.

use crate::catalog::{Catalog, Object, ObjectKind};
use crate::env::Env;
use crate::function::{Module, ModuleHost};
use crate::log::{Log, LogOptions};
use crate::store::{CatalogChange, Store, from_json};
use crate::{Epoch, Error, ObjectId, Result};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What to do about a directory whose parts do not belong together.
const ADVICE: &str = "Nothing was removed. Put back log/ and store/ as of the same moment, or restore the whole data \
                      directory from a backup";

/// Opens log and store of a data directory and folds what only the log knows into the store.
///
/// # Errors
/// `Corrupt`, `Io`, `Unsupported` (a newer format).
pub(crate) fn open(env: Arc<dyn Env>, dir: &Path, options: &LogOptions) -> Result<(Log, Store)> {
    let store_dir = dir.join("store");
    let open_store = || Store::open(&store_dir, env.random());
    // The store first, if there is one: it knows the format. If there is none, only beside a log that never had one.
    let store = Store::exists(&store_dir).then(open_store).transpose()?;
    let (log, records) = Log::open(env.clone(), &dir.join("log"), options.clone())?;
    let folded = store.as_ref().map_or(Ok(Epoch(0)), Store::catalog_epoch)?;
    check_not_behind(&store_dir, folded, &log)?;
    check_not_ahead("the catalog", folded, &log)?;
    let changes: Vec<(Epoch, CatalogChange)> =
        records.iter().map(|record| Ok((record.epoch, from_json(&record.bytes)?))).collect::<Result<_>>()?;
    let news = || changes.iter().filter(|(epoch, _)| *epoch > folded);
    let created = created(store.as_ref(), news())?;
    let dropped = dropped(store.as_ref(), &changes)?;
    check_orphans(&store_dir, &log, &created, &dropped)?;
    let store = store.map_or_else(open_store, Ok)?;
    // RocksDB syncs what is in its directory, but not its name.
    env.sync_dir(dir).map_err(|e| Error::io(format!("syncing {}", dir.display()), e))?;
    check_not_ahead("the checkpoint", store.checkpoint()?.epoch, &log)?;
    for (epoch, change) in news() {
        store.apply(change, *epoch)?;
    }
    Ok((log, store))
}

/// The catalog that the store holds. A module that cannot be loaded is in it without its compiled form. Of two objects
/// of one name, which servers before this rule could leave, the later one gets another until either is dropped.
pub(crate) fn load_catalog(store: &Store, host: &dyn ModuleHost) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for mut object in store.objects()? {
        let mut module = None;
        if let ObjectKind::Module { hash } = &object.kind {
            module = load_module(store, host, hash)
                .inspect_err(|error| tracing::error!(module = object.name, %error, "module cannot be loaded"))
                .ok();
        }
        if catalog.get(&object.name).is_some() {
            let other = format!("{} (object {})", object.name, object.id);
            tracing::error!(name = object.name, shown_as = other, "two objects have this name; drop one of them");
            object.name = other;
        }
        catalog.insert(Arc::new(object), module)?;
    }
    Ok(catalog)
}

/// Removes what no object owns (a CREATE or DROP was cut short) and insists on what one does.
pub(crate) fn finish(log: &Log, store: &Store, catalog: &Catalog) -> Result<()> {
    let present = log.streams();
    // Frames of streams without a directory belong to dropped streams; a stream the catalog knows must have one.
    let owners: Vec<ObjectId> = catalog.objects().filter(|o| owns_log(o)).map(|o| o.id).collect();
    if let Some(id) = owners.iter().find(|id| !present.contains(id)) {
        return Err(Error::Internal(format!("the log of object {id} is missing; restore the data directory")));
    }
    for orphan in present.iter().filter(|id| !owners.contains(id)) {
        log.drop_stream(*orphan)?;
    }
    store.forget_dropped(&store.dropped()?)?;
    let modules: Vec<[u8; 32]> = catalog.objects().filter_map(|o| module_hash(o)).collect();
    store.retain_modules(&modules)?;
    log.release_catalog(log.epoch());
    Ok(())
}

fn owns_log(object: &Object) -> bool {
    matches!(object.kind, ObjectKind::Stream { .. } | ObjectKind::Table { .. })
}

fn module_hash(object: &Object) -> Option<[u8; 32]> {
    match &object.kind {
        ObjectKind::Module { hash } => Some(*hash),
        _ => None,
    }
}

fn load_module(store: &Store, host: &dyn ModuleHost, hash: &[u8; 32]) -> Result<Arc<dyn Module>> {
    let bytes = store.module(hash)?.ok_or_else(|| Error::Internal("its bytes are missing".into()))?;
    host.load(&bytes)
}

/// What the store has folded in must be in the log: less log than that means acknowledged groups are missing.
fn check_not_ahead(what: &str, epoch: Epoch, log: &Log) -> Result<()> {
    if epoch <= log.epoch() {
        return Ok(());
    }
    let found = log.epoch();
    Err(Error::Internal(format!(
        "{what} is at epoch {epoch} but the log ends at {found}: acknowledged groups are missing. {ADVICE}"
    )))
}

/// What the log does not hold any more must be in the store.
fn check_not_behind(store_dir: &Path, folded: Epoch, log: &Log) -> Result<()> {
    let forgotten = log.catalog_forgotten();
    if folded >= forgotten {
        return Ok(());
    }
    Err(unfit(
        store_dir,
        format!(
            "the catalog in it ends at epoch {folded}, but it was changed up to epoch {forgotten} and the log does not \
             hold these changes any more: it was lost, or is older than the log"
        ),
    ))
}

/// A log with records that no object owns, and whose drop nobody knows, belongs to an object that was lost.
fn check_orphans(
    store_dir: &Path,
    log: &Log,
    created: &BTreeSet<ObjectId>,
    dropped: &BTreeSet<ObjectId>,
) -> Result<()> {
    let cut = log.cut();
    let holds_rows = |id: &ObjectId| cut.uppers.get(id).is_some_and(|uppers| uppers.iter().any(|upper| upper.0 > 0));
    let lost: Vec<String> = log
        .streams()
        .iter()
        .filter(|id| holds_rows(id) && !created.contains(id) && !dropped.contains(id))
        .map(ObjectId::to_string)
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let ids = lost.join(", ");
    Err(unfit(
        store_dir,
        format!("the log holds records of objects {ids} (log/streams/<id>), which the catalog does not know"),
    ))
}

fn unfit(store_dir: &Path, reason: String) -> Error {
    Error::Corrupt { file: store_dir.to_path_buf(), byte: 0, reason: format!("{reason}. {ADVICE}") }
}

/// Every object that store or log know of, whether it was dropped later or not.
fn created<'a>(
    store: Option<&Store>,
    news: impl Iterator<Item = &'a (Epoch, CatalogChange)>,
) -> Result<BTreeSet<ObjectId>> {
    let stored = store.map_or(Ok(vec![]), Store::objects)?;
    let created = news.filter_map(|(_, change)| match change {
        CatalogChange::Create(object) => Some(object.id),
        CatalogChange::Drop(_) => None,
    });
    Ok(stored.iter().map(|object| object.id).chain(created).collect())
}

fn dropped(store: Option<&Store>, changes: &[(Epoch, CatalogChange)]) -> Result<BTreeSet<ObjectId>> {
    let mut dropped = store.map_or(Ok(BTreeSet::new()), Store::dropped)?;
    for (_, change) in changes {
        if let CatalogChange::Drop(ids) = change {
            dropped.extend(ids);
        }
    }
    Ok(dropped)
}

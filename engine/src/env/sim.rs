//! A simulated disk, for tests: what was written (*live*) and what survives a power cut (*durable*) are kept apart.
//!
//! The faults it has, and nothing else:
//! - **power cut** ([`SimEnv::crash`], or after a chosen number of operations): every 512-byte sector of every write
//!   that was not synced survives or not at random; names (of files and of directories) that were not synced survive up
//!   to a random point of the order in which they were made; every handle of the old run is dead;
//! - **failed sync**: the n-th sync reports `EIO`. What it should have made durable becomes so at random, and what did
//!   not never will: a later sync knows nothing of it;
//! - **full disk**: writes and files beyond the capacity report `ENOSPC`;
//! - **refusal**: the n-th operation reports an error of the operating system and has no effect (a sync: as above).
//!
//! Time is a counter, randomness a seeded sequence, and [`Env::fatal`] only leaves a note.

use super::{Env, EnvFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;

/// Simulated time passes by this much at each look at the clock.
const CLOCK_STEP_MICROS: i64 = 100;

type FileId = u64;

/// A simulated machine. Clones share it.
#[derive(Clone, Debug)]
pub struct SimEnv(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    random: u64,
    clock_micros: i64,
    files: BTreeMap<FileId, File>,
    live: Tree,
    durable: Tree,
    /// Changes of names that no `sync_dir` covered yet, oldest first, each with its directory.
    pending_names: Vec<(PathBuf, NameChange)>,
    next_file: FileId,
    operations: u64,
    syncs: u64,
    power_cut_at: Option<u64>,
    fail_sync_at: Option<u64>,
    /// Operation and error number.
    refuse_at: Option<(u64, i32)>,
    capacity_bytes: Option<u64>,
    dead: bool,
    fatal: Vec<String>,
}

/// What is found by name.
#[derive(Clone, Debug)]
struct Tree {
    names: BTreeMap<PathBuf, FileId>,
    directories: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, FileId),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, FileId),
    AddDirectory(PathBuf),
    RemoveDirectory(PathBuf),
}

#[derive(Debug, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl SimEnv {
    /// An empty disk; everything random follows from `seed`.
    pub fn new(seed: u64) -> SimEnv {
        SimEnv(Arc::new(Mutex::new(Machine::new(seed))))
    }

    /// Cuts the power and starts again on what survived. The old machine's handles are dead.
    pub fn crash(&self) -> SimEnv {
        let mut old = self.0.lock();
        old.dead = true;
        let mut new = Machine::new(old.next_random());
        new.clock_micros = old.clock_micros;
        new.next_file = old.next_file;
        new.live = old.surviving_names();
        new.durable = new.live.clone();
        let ids: BTreeSet<FileId> = new.live.names.values().copied().collect();
        for id in ids {
            let bytes = old.surviving_bytes(id);
            new.files.insert(id, File { live: bytes.clone(), durable: bytes, pending: Vec::new() });
        }
        SimEnv(Arc::new(Mutex::new(new)))
    }

    /// Cuts the power just before operation number `operations` from now (writes, syncs and name changes count).
    pub fn cut_power_after(&self, operations: u64) {
        let mut machine = self.0.lock();
        machine.power_cut_at = Some(machine.operations + operations);
    }

    /// Makes the `n`-th sync from now (0 = the next) fail.
    pub fn fail_sync_after(&self, n: u64) {
        let mut machine = self.0.lock();
        machine.fail_sync_at = Some(machine.syncs + n);
    }

    /// Makes the `n`-th operation from now (0 = the next) report this error number, once.
    pub fn refuse_after(&self, n: u64, errno: i32) {
        let mut machine = self.0.lock();
        machine.refuse_at = Some((machine.operations + n, errno));
    }

    /// Limits the sum of all files' lengths; `None` = unlimited.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Whether the power is off.
    pub fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    /// What [`Env::fatal`] was called with.
    pub fn fatal_messages(&self) -> Vec<String> {
        self.0.lock().fatal.clone()
    }

    /// Flips one bit of a file, live and durable: damage done by the medium.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) {
        let mut machine = self.0.lock();
        let Some(id) = machine.live.names.get(path).copied() else { return };
        let Some(file) = machine.files.get_mut(&id) else { return };
        for image in [&mut file.live, &mut file.durable] {
            if let Some(b) = image.get_mut(byte as usize) {
                *b ^= 1 << (bit % 8);
            }
        }
    }

    fn change<T>(&self, act: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.0.lock();
        match machine.begin()? {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => act(&mut machine),
        }
    }

    /// `act` makes durable what it should, or, when told that the sync fails, only a random part of it.
    fn sync(&self, act: impl FnOnce(&mut Machine, bool) -> io::Result<()>) -> io::Result<()> {
        let mut machine = self.0.lock();
        let refused = machine.begin()?;
        let failed = machine.sync_fails().then_some(libc::EIO).or(refused);
        act(&mut machine, failed.is_some())?;
        failed.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn look<T>(&self, act: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.0.lock();
        machine.check_power()?;
        act(&mut machine)
    }

    fn handle(&self, id: FileId) -> Box<dyn EnvFile> {
        Box::new(SimFile { env: self.clone(), id })
    }
}

impl Machine {
    fn new(seed: u64) -> Machine {
        Machine {
            random: seed,
            clock_micros: 1_700_000_000_000_000,
            files: BTreeMap::new(),
            live: Tree::new(),
            durable: Tree::new(),
            pending_names: Vec::new(),
            next_file: 1,
            operations: 0,
            syncs: 0,
            power_cut_at: None,
            fail_sync_at: None,
            refuse_at: None,
            capacity_bytes: None,
            dead: false,
            fatal: Vec::new(),
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.dead { Err(power_is_off()) } else { Ok(()) }
    }

    /// Counts an operation. The error number if it is to be refused.
    fn begin(&mut self) -> io::Result<Option<i32>> {
        self.check_power()?;
        if self.power_cut_at == Some(self.operations) {
            self.dead = true;
            return Err(power_is_off());
        }
        self.operations += 1;
        Ok(self.refuse_at.filter(|(at, _)| at + 1 == self.operations).map(|(_, errno)| errno))
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn file(&mut self, id: FileId) -> io::Result<&mut File> {
        self.files.get_mut(&id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.live.names.remove(from).ok_or(ErrorKind::NotFound)?;
        self.live.names.insert(to.to_path_buf(), id);
        self.note(to, NameChange::Rename(from.to_path_buf(), to.to_path_buf(), id));
        Ok(())
    }

    fn note(&mut self, path: &Path, change: NameChange) {
        self.pending_names.push((parent_of(path), change));
    }

    /// Counts a sync; `true` = this one fails.
    fn sync_fails(&mut self) -> bool {
        let fails = self.fail_sync_at == Some(self.syncs);
        self.syncs += 1;
        fails
    }

    fn has_room(&self, more: u64) -> bool {
        let used: u64 = self.live.names.values().filter_map(|id| self.files.get(id)).map(|f| f.live.len() as u64).sum();
        self.capacity_bytes.is_none_or(|capacity| used + more <= capacity)
    }

    fn surviving_names(&mut self) -> Tree {
        let pending = std::mem::take(&mut self.pending_names);
        self.settle_names(pending, true);
        self.durable.prune();
        self.durable.clone()
    }

    fn surviving_bytes(&mut self, id: FileId) -> Vec<u8> {
        self.settle(id, true);
        self.files.remove(&id).unwrap_or_default().durable
    }

    /// All of these changes become durable, or (`torn`) those up to a random one.
    fn settle_names(&mut self, changes: Vec<(PathBuf, NameChange)>, torn: bool) {
        let survivors = if torn { self.next_random() as usize % (changes.len() + 1) } else { changes.len() };
        changes.into_iter().take(survivors).for_each(|(_, change)| change.apply(&mut self.durable));
    }

    /// All that is pending of a file becomes durable, or (`torn`) a random part of its sectors.
    fn settle(&mut self, id: FileId, torn: bool) {
        let Some(mut file) = self.files.remove(&id) else { return };
        // One time nothing is kept, one time all, mostly some sectors.
        let keep_of_4 = if torn { self.next_random() % 5 } else { 4 };
        for change in std::mem::take(&mut file.pending) {
            match change {
                Change::Len(n) if self.next_random() % 4 < keep_of_4 => file.durable.resize(n, 0),
                Change::Len(_) => {}
                Change::Write(position, data) => {
                    for (start, sector) in sectors(position, &data) {
                        if self.next_random() % 4 < keep_of_4 {
                            write_into(&mut file.durable, start, sector);
                        }
                    }
                }
            }
        }
        self.files.insert(id, file);
    }
}

impl Tree {
    fn new() -> Tree {
        Tree { names: BTreeMap::new(), directories: [PathBuf::from("/")].into() }
    }

    /// What lies in a directory that is not there is not there.
    fn prune(&mut self) {
        let all = self.directories.clone();
        let is_there = |path: &Path| path.ancestors().skip(1).all(|above| all.contains(above));
        self.directories.retain(|path| is_there(path));
        self.names.retain(|path, _| is_there(path));
    }
}

impl NameChange {
    fn apply(self, tree: &mut Tree) {
        let Tree { names, directories } = tree;
        match self {
            NameChange::Add(path, id) => {
                names.insert(path, id);
            }
            NameChange::Remove(path) => {
                names.remove(&path);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(&from);
                names.insert(to, id);
            }
            NameChange::AddDirectory(path) => {
                directories.insert(path);
            }
            NameChange::RemoveDirectory(path) => {
                directories.remove(&path);
            }
        }
    }
}

impl Env for SimEnv {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|m| {
            let mut missing: Vec<&Path> = path.ancestors().filter(|p| !m.live.directories.contains(*p)).collect();
            missing.reverse();
            for made in missing {
                m.live.directories.insert(made.to_path_buf());
                m.note(made, NameChange::AddDirectory(made.to_path_buf()));
            }
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        let id = self.change(|m| {
            if m.live.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if !m.live.directories.contains(&parent_of(path)) {
                return Err(ErrorKind::NotFound.into());
            }
            let id = m.next_file;
            m.next_file += 1;
            m.files.insert(id, File::default());
            m.live.names.insert(path.to_path_buf(), id);
            m.note(path, NameChange::Add(path.to_path_buf(), id));
            Ok(id)
        })?;
        Ok(self.handle(id))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        let id = self.look(|m| m.live.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into()))?;
        Ok(self.handle(id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|m| m.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|m| match m.live.names.contains_key(to) {
            true => Err(ErrorKind::AlreadyExists.into()),
            false => m.rename(from, to),
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(|m| {
            m.live.names.remove(path).ok_or(ErrorKind::NotFound)?;
            m.note(path, NameChange::Remove(path.to_path_buf()));
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|m| {
            if m.live.names.keys().any(|name| name.starts_with(path)) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            m.live.directories.remove(path);
            m.note(path, NameChange::RemoveDirectory(path.to_path_buf()));
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.look(|m| {
            if !m.live.directories.contains(path) {
                return Err(ErrorKind::NotFound.into());
            }
            let entries = m.live.names.keys().chain(m.live.directories.iter()).filter(|p| p.parent() == Some(path));
            let names: BTreeSet<String> =
                entries.filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
            Ok(names.into_iter().collect())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.sync(|m, torn| {
            if !m.live.directories.contains(path) {
                return Err(ErrorKind::NotFound.into());
            }
            let (synced, pending) = m.pending_names.drain(..).partition(|(directory, _)| directory == path);
            m.pending_names = pending;
            m.settle_names(synced, torn);
            Ok(())
        })
    }

    fn now_micros(&self) -> i64 {
        let mut machine = self.0.lock();
        machine.clock_micros += CLOCK_STEP_MICROS;
        machine.clock_micros
    }

    fn random(&self) -> u64 {
        self.0.lock().next_random()
    }

    fn raise_priority(&self) {}

    fn fatal(&self, message: &str) {
        self.0.lock().fatal.push(message.to_string());
    }
}

#[derive(Debug)]
struct SimFile {
    env: SimEnv,
    id: FileId,
}

impl EnvFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.env.look(|m| {
            let live = &m.file(self.id)?.live;
            let range = position as usize..position as usize + buffer.len();
            buffer.copy_from_slice(live.get(range).ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.env.change(|m| {
            let grows = (position + bytes.len() as u64).saturating_sub(m.file(self.id)?.live.len() as u64);
            if grows > 0 && !m.has_room(grows) {
                return Err(ErrorKind::StorageFull.into());
            }
            let file = m.file(self.id)?;
            write_into(&mut file.live, position as usize, bytes);
            file.pending.push(Change::Write(position as usize, bytes.to_vec()));
            Ok(())
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.env.change(|m| {
            let file = m.file(self.id)?;
            file.live.resize(bytes as usize, 0);
            file.pending.push(Change::Len(bytes as usize));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.env.look(|m| Ok(m.file(self.id)?.live.len() as u64))
    }

    fn links(&self) -> io::Result<u64> {
        self.env.look(|m| Ok(m.live.names.values().filter(|id| **id == self.id).count() as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.env.sync(|m, torn| {
            m.settle(self.id, torn);
            Ok(())
        })
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("simulated power cut")
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn write_into(image: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[position..end].copy_from_slice(bytes);
}

/// `data` at `position`, cut at sector boundaries.
fn sectors(position: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = position;
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let n = (SECTOR_BYTES - start % SECTOR_BYTES).min(rest.len());
        let (head, tail) = rest.split_at(n);
        let item = (start, head);
        (start, rest) = (start + n, tail);
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (SimEnv, PathBuf) {
        let env = SimEnv::new(7);
        env.create_dir_durably(Path::new("/d")).unwrap();
        (env, PathBuf::from("/d/f"))
    }

    #[test]
    fn synced_bytes_and_names_survive() {
        let (env, path) = disk();
        let file = env.create(&path).unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.sync_data().unwrap();
        env.sync_dir(Path::new("/d")).unwrap();
        let env = env.crash();
        let mut bytes = [0; 3];
        env.open(&path).unwrap().read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"abc");
        assert!(file.sync_data().is_err(), "handles of the old run are dead");
    }

    #[test]
    fn unsynced_sectors_survive_one_by_one() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..64 {
            let env = SimEnv::new(seed);
            env.create_dir_durably(Path::new("/d")).unwrap();
            let file = env.create(Path::new("/d/f")).unwrap();
            file.fill_zero(4096).unwrap();
            file.sync_data().unwrap();
            env.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[1; 4096], 0).unwrap();
            let env = env.crash();
            let mut bytes = [0; 4096];
            env.open(Path::new("/d/f")).unwrap().read_at(&mut bytes, 0).unwrap();
            for sector in bytes.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|b| *b == sector[0]), "a sector is written whole or not at all");
                if sector[0] == 1 { kept += 1 } else { lost += 1 }
            }
        }
        assert!(kept > 50 && lost > 50, "kept {kept}, lost {lost}");
    }

    #[test]
    fn what_lies_in_a_lost_directory_is_lost() {
        let lost = (0..32).filter(|seed| {
            let env = SimEnv::new(*seed);
            env.create_dir_durably(Path::new("/d")).unwrap();
            env.create_dir(Path::new("/d/e")).unwrap();
            let file = env.create(Path::new("/d/e/f")).unwrap();
            file.sync_data().unwrap();
            env.sync_dir(Path::new("/d/e")).unwrap();
            let env = env.crash();
            assert!(env.list(Path::new("/d")).is_ok(), "its parent was synced");
            env.open(Path::new("/d/e/f")).is_err()
        });
        assert!((5..28).contains(&lost.count()));
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_one_brings_back() {
        let lost = (0..32).filter(|seed| {
            let env = SimEnv::new(*seed);
            env.create_dir_durably(Path::new("/d")).unwrap();
            let file = env.create(Path::new("/d/f")).unwrap();
            file.write_at(b"x", 0).unwrap();
            env.fail_sync_after(0);
            file.sync_data().unwrap_err();
            file.sync_data().unwrap();
            env.sync_dir(Path::new("/d")).unwrap();
            file.read_at(&mut [0], 0).unwrap();
            env.crash().open(Path::new("/d/f")).unwrap().is_empty().unwrap()
        });
        assert!((5..28).contains(&lost.count()));
    }

    #[test]
    fn a_power_cut_stops_everything() {
        let (env, path) = disk();
        env.cut_power_after(1);
        let file = env.create(&path).unwrap();
        assert!(file.write_at(b"x", 0).is_err());
        assert!(env.is_dead());
    }

    #[test]
    fn a_full_disk_refuses_growth_only() {
        let (env, path) = disk();
        env.set_capacity(Some(10));
        let file = env.create(&path).unwrap();
        file.write_at(&[1; 10], 0).unwrap();
        assert_eq!(file.write_at(b"x", 10).unwrap_err().kind(), ErrorKind::StorageFull);
        file.write_at(b"x", 9).unwrap();
    }
}

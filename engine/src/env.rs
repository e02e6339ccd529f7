//! The seam to disk, time and randomness: everything of the log that a crash can tear goes through [`Env`].
//!
//! Two implementations: [`RealEnv`] (the operating system) and [`SimEnv`] (a disk that keeps what was written apart
//! from what was made durable, and can lose power, fail a sync or run full on request).
//!
//! What the log assumes about the medium, and nothing more:
//! - bytes written are durable once `sync_data` of that file returned; before that any subset of their sectors may be;
//! - names created, renamed or removed are durable once `sync_dir` of their directory returned; a rename is atomic;
//! - a failed sync says nothing about what is durable, and a later successful one doesn't either: it is never retried.
//!   What is to become durable after it is written anew, under a new name.

mod sim;

pub use sim::SimEnv;

use std::fmt::Debug;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Zeroes are written in chunks of this many bytes.
const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// How often, and with which pause, a handle for a directory is asked for.
const OPEN_DIR_ATTEMPTS: u32 = 100;
const OPEN_DIR_PAUSE: Duration = Duration::from_millis(100);

/// Scheduling priority asked for by the commit thread (−20 = most urgent, 19 = least).
const COMMIT_THREAD_NICE: libc::c_int = -15;

/// Disk, time and randomness.
pub trait Env: Send + Sync + Debug {
    /// Creates a directory and its parents, if they are not there; each is durable once its parent is synced.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// As [`Env::create_dir`]; what was made is durable.
    fn create_dir_durably(&self, path: &Path) -> io::Result<()> {
        let is_missing = |p: &&Path| self.list(p).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        self.create_dir(path)?;
        missing.iter().rev().filter_map(|made| made.parent()).try_for_each(|parent| self.sync_dir(parent))
    }
    /// Creates a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn EnvFile>>;
    /// As [`Env::create`]; a file of this name is one that a failure left behind, and is removed.
    fn create_anew(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        match self.create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_file(path)?;
                self.create(path)
            }
            done => done,
        }
    }
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn EnvFile>>;
    /// Gives a file another name; replaces what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, in one step; fails with `AlreadyExists` when that name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Wall clock in µs since 1970, never going back within this process.
    fn now_micros(&self) -> i64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Asks the scheduler to prefer the calling thread; a refusal is ignored.
    fn raise_priority(&self);
    /// Ends the process: what is durable is no longer known. Returns only in simulation.
    fn fatal(&self, message: &str);
}

/// Whether something ran out (room, quota, file handles, memory) that may be there again later.
pub fn is_exhausted(error: &io::Error) -> bool {
    is_out_of_handles(error)
        || matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
        )
}

fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// An open file. Reads and writes carry their position.
pub trait EnvFile: Send + Sync + Debug {
    /// Fills `buffer` from `position`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `position`, extending the file if need be.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Cuts or extends (with zeroes) the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// How many names the file has.
    fn links(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes `bytes` zeroes from the start, so that later writes change no metadata.
    fn fill_zero(&self, bytes: u64) -> io::Result<()> {
        let zeroes = vec![0u8; ZERO_CHUNK_BYTES.min(bytes as usize)];
        let mut position = 0;
        while position < bytes {
            let n = (bytes - position).min(zeroes.len() as u64);
            self.write_at(&zeroes[..n as usize], position)?;
            position += n;
        }
        Ok(())
    }
}

/// The operating system's disk, clock and randomness.
#[derive(Debug, Default)]
pub struct RealEnv {
    latest_micros: AtomicI64,
}

impl Env for RealEnv {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        Ok(Box::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_no_replace(from, to) {
            Err(e) if is_unsupported(&e) => {}
            done => return done,
        }
        // One server has the directory to itself, so nobody takes the name in between.
        match to.try_exists()? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(from, to),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        open_dir(path)?.sync_all()
    }

    fn now_micros(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        self.latest_micros.fetch_max(now, Ordering::Relaxed).max(now)
    }

    fn random(&self) -> u64 {
        // The standard library seeds every `RandomState` from the operating system's randomness.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_i64(self.now_micros());
        hasher.finish()
    }

    fn raise_priority(&self) {
        #[expect(unsafe_code, reason = "setpriority has no safe wrapper in std")]
        // SAFETY: no memory is passed. On Linux `who = 0` means the calling thread only.
        let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, COMMIT_THREAD_NICE) } != 0;
        if refused {
            tracing::debug!("the commit thread keeps normal priority: {}", io::Error::last_os_error());
        }
    }

    fn fatal(&self, message: &str) {
        tracing::error!("{message}; ending the process so that nothing unsure is acknowledged");
        std::process::abort();
    }
}

/// Opens a directory to sync it. When handles have run out it waits for one: nothing was synced yet, so nothing is lost,
/// whereas a caller that hears of a failed sync must end the process.
fn open_dir(path: &Path) -> io::Result<fs::File> {
    for _ in 0..OPEN_DIR_ATTEMPTS {
        match fs::File::open(path) {
            Err(e) if is_out_of_handles(&e) => std::thread::sleep(OPEN_DIR_PAUSE),
            done => return done,
        }
    }
    fs::File::open(path)
}

/// Not every file system knows how; a rename that may replace does on all of them.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP))
}

#[cfg(target_os = "linux")]
fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes());
    let (from, to) = (name(from)?, name(to)?);
    #[expect(unsafe_code, reason = "std has no rename that refuses to replace")]
    // SAFETY: both pointers are to NUL-terminated strings that live until the call returns; it keeps neither.
    let failed = unsafe {
        libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::RENAME_NOREPLACE) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn rename_no_replace(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[derive(Debug)]
struct RealFile(fs::File);

impl EnvFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_replaces_nothing_and_leaves_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let (env, a, b) = (RealEnv::default(), dir.path().join("a"), dir.path().join("b"));
        env.create(&a).unwrap().write_at(b"a", 0).unwrap();
        env.create(&b).unwrap();
        assert_eq!(env.rename_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(env.open(&b).unwrap().is_empty().unwrap());
        env.remove_file(&b).unwrap();
        env.rename_new(&a, &b).unwrap();
        assert_eq!(env.list(dir.path()).unwrap(), ["b"]);
        assert_eq!(env.open(&b).unwrap().links().unwrap(), 1);
    }
}

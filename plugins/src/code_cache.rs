//! Compiled code kept on disk, so that a restart does not compile its modules again.
//!
//! One file a module, named by its key in hex:
//! ```text
//!  0  "MPCODE\0\x01"
//!  8  key:  SHA-256 of the wrapped component and of all that decides how it is compiled (wasmtime's version, its
//!           configuration, the processor's features)
//! 40  SHA-256 of the code
//! 72  the code, as wasmtime serialises it
//! ```
//! Code is native: taking it from a file is as trusting as loading a shared library. So the directory is the server's
//! alone (mode 0700, files 0600; one that others can write to is not used), a file is read whole and checked before
//! wasmtime sees it, and uploads never get here: what they contain is always compiled by this server first. The sums
//! find damage; they do not stop someone who may write the server's files, who could replace the server as well.
//!
//! It is a cache: whatever is wrong with a file or the directory means compiling, and a line in the log.

use millpond_engine::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"MPCODE\0\x01";
const HEADER_BYTES: usize = 72;
const SUFFIX: &str = ".code";
/// Largest file that is written or read.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// All files together; beyond it those go that were not used for longest.
const CACHE_BYTES_MAX: u64 = 1 << 30;
/// Permission bits that let others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A directory of compiled code.
#[derive(Debug)]
pub(crate) struct CodeCache {
    directory: PathBuf,
    /// This process' user, as files it makes show it.
    owner: u32,
    /// Makes the names of unfinished files differ.
    writes: AtomicU64,
}

type Key = [u8; 32];

impl CodeCache {
    /// Creates `directory` if need be and removes what an interrupted write left.
    pub(crate) fn open(directory: &Path) -> Result<CodeCache> {
        let context = |e| Error::io(format!("creating {}", directory.display()), e);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(context)?;
        let probe = directory.join(format!("{}.owner", std::process::id()));
        let owner = File::create(&probe).and_then(|file| file.metadata()).map_err(context)?.uid();
        let cache = CodeCache { directory: directory.to_path_buf(), owner, writes: AtomicU64::new(0) };
        for entry in fs::read_dir(directory).map_err(context)?.flatten() {
            if !entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                cache.remove(&entry.path());
            }
        }
        Ok(cache)
    }

    /// Compiles `wrapped`, or takes its code from an earlier compilation.
    pub(crate) fn component(&self, engine: &wasmtime::Engine, wrapped: &[u8]) -> wasmtime::Result<Component> {
        let key = key(engine, wrapped);
        let path = self.directory.join(hex(&key) + SUFFIX);
        match self.read(&path, &key).map(|code| code.map(|code| revive(engine, &code))) {
            Ok(Some(Ok(component))) => {
                tracing::info!(file = %path.display(), "compiled code of a module taken from the cache");
                return Ok(component);
            }
            Ok(None) => {}
            Ok(Some(Err(error))) => tracing::warn!(file = %path.display(), %error, "cached code is of no use"),
            Err(error) => tracing::warn!(file = %path.display(), %error, "cached code is not used"),
        }
        let component = Component::new(engine, wrapped)?;
        tracing::info!(file = %path.display(), "module compiled");
        let code = component.serialize().map_err(|e| io::Error::other(format!("{e:#}")));
        if let Err(error) = code.and_then(|code| self.write(&path, &key, &code)) {
            tracing::warn!(file = %path.display(), %error, "compiled code cannot be kept");
        }
        Ok(component)
    }

    /// The code for `key`; `None` when there is none.
    fn read(&self, path: &Path, key: &Key) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let found = file.metadata()?;
        if !self.is_private(&fs::metadata(&self.directory)?, &found) {
            return Err(io::Error::other("others can write to it or own it"));
        }
        if found.len() > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        let mut bytes = Vec::with_capacity(found.len() as usize);
        io::Read::read_to_end(&mut io::Read::take(&file, FILE_BYTES_MAX), &mut bytes)?;
        let code = checked(&bytes, key).ok_or_else(|| io::Error::other("it is damaged"))?.to_vec();
        // What is used stays longest; a refusal costs nothing but that.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(code))
    }

    /// Whole or not at all, under its name.
    fn write(&self, path: &Path, key: &Key, code: &[u8]) -> io::Result<()> {
        let bytes = (HEADER_BYTES + code.len()) as u64;
        if bytes > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        self.make_room(bytes)?;
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(&[&MAGIC[..], key, Sha256::digest(code).as_slice()].concat())
            .and_then(|()| file.write_all(code))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            self.remove(&unfinished);
        }
        written
    }

    /// Removes files until `more` bytes fit, least recently used first.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let found = entry.metadata()?;
            files.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), entry.path()));
        }
        files.sort();
        let mut whole: u64 = more + files.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        for (_, bytes, path) in files {
            if whole <= CACHE_BYTES_MAX {
                break;
            }
            self.remove(&path);
            whole -= bytes;
        }
        Ok(())
    }

    /// Whether directory and file are this process' own and nobody else can write to them.
    fn is_private(&self, directory: &Metadata, file: &Metadata) -> bool {
        let ours = |m: &Metadata| m.uid() == self.owner && m.mode() & WRITABLE_BY_OTHERS == 0;
        file.is_file() && ours(directory) && ours(file)
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(file = %path.display(), %error, "cannot be removed");
        }
    }
}

/// The code in a file's bytes, if they are whole and for `key`.
fn checked<'a>(bytes: &'a [u8], key: &Key) -> Option<&'a [u8]> {
    let (header, code) = bytes.split_at_checked(HEADER_BYTES)?;
    let whole = header[..8] == MAGIC[..] && header[8..40] == key[..] && header[40..] == Sha256::digest(code)[..];
    whole.then_some(code)
}

fn revive(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "compiled code can be taken from bytes in no other way")]
    // SAFETY: `code` must be what `Component::serialize` gave, unchanged. It comes from a file that only this server's
    // user can write, under a key that covers component, wasmtime and configuration, and its sum was right just now in
    // this same memory. wasmtime checks its own version and configuration again.
    unsafe {
        Component::deserialize(engine, code)
    }
}

fn key(engine: &wasmtime::Engine, wrapped: &[u8]) -> Key {
    let mut sum = Sum(Sha256::new_with_prefix(Sha256::digest(wrapped)));
    engine.precompile_compatibility_hash().hash(&mut sum);
    sum.0.finalize().into()
}

/// SHA-256 as a hasher: 64 bits are too few for a name that decides what runs.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Asked for by nobody: the sum is taken whole.
    fn finish(&self) -> u64 {
        let sum: [u8; 32] = self.0.clone().finalize().into();
        sum.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_code_for_its_key_is_taken() {
        let (key, code) = ([7; 32], b"code".as_slice());
        let file = [&MAGIC[..], &key, Sha256::digest(code).as_slice(), code].concat();
        assert_eq!(checked(&file, &key), Some(code));
        assert_eq!(checked(&file, &[8; 32]), None);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(checked(&damaged, &key), None, "byte {at}");
            assert_eq!(checked(&file[..at], &key), None, "cut at {at}");
        }
        assert_eq!(checked(&[&file[..], b"x"].concat(), &key), None);
    }
}

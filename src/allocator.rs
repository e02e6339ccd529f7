//! Keeps the C allocator from spreading memory over many arenas.
//!
//! glibc gives threads arenas of their own, eight for each processor. Batches are made on one thread and freed on another,
//! so what is free in one arena is asked of the system again in the next: with the threads of many sessions a reader that
//! fell behind cost 165 MiB instead of 115, of which 64 are its buffer.

/// Least number of arenas; else as many as there are processors.
#[cfg(target_env = "gnu")]
const ARENAS_MIN: usize = 2;

/// Call it before there are threads.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator's settings are reached through C only")]
pub fn tune() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = i32::try_from(processors.max(ARENAS_MIN)).unwrap_or(i32::MAX);
    // SAFETY: mallopt takes two integers; one it does not know changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
pub fn tune() {}

//! What becomes of memory that was given back.

/// Up to which length tensors lie on the heap: what glibc itself goes up to when it adapts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_ON_HEAP: i32 = 32 << 20;

/// How much of what is free stays with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 128 << 20;

/// Has the process keep up to 128 MiB of what it frees, instead of returning it to the system at once.
///
/// Tensors of some megabytes come and go with every sample, and to have the system clear pages anew for
/// each of them takes a third of the time of calibrating where much is observed. It is a setting of the
/// whole process, so that a library cannot decide on it: programs call this first, while they have one
/// thread. It does nothing where the allocator is not that of glibc.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "there is no safe way to tell the allocator")]
fn set() {
    // SAFETY: `mallopt` takes two integers and writes two settings under the lock of its main arena.
    // Other threads read these without the lock, as plain integers of which every value is valid, and
    // only to choose between ways to give memory out or back that fit together in any order. That a
    // setting was refused (0) changes nothing else.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_ON_HEAP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

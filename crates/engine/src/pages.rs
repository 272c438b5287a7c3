//! What becomes of memory that was given back.

/// Up to which length tensors lie on the heap: what glibc itself goes up to when it adapts.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
const LARGEST_ON_HEAP: i32 = 32 << 20;

/// How much of what is free at the end of a heap stays with the process.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
const KEPT: i32 = 128 << 20;

/// Has the process keep what it frees, up to 128 MiB at the end of each heap, instead of returning it to
/// the system at once.
///
/// Tensors of some megabytes come and go with every sample, and to have the system clear pages anew for
/// each of them takes a third of the time of calibrating where much is observed. It is a setting of the
/// whole process, so that a library cannot decide on it: programs call this first, while they have one
/// thread. It does nothing where the allocator is not that of glibc on 64 bits, and where the environment
/// has settings for it.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
    set();
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#[allow(unsafe_code, reason = "there is no safe way to tell the allocator")]
fn set() {
    let settings = ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];
    if settings.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    // SAFETY: `mallopt` takes two integers and writes two settings under the lock of its main arena.
    // Other threads read these without the lock, as plain integers of which every value is valid, and
    // only to choose between ways to give memory out or back that fit together in any order. Where one
    // is refused (0), the other one is as valid.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_ON_HEAP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

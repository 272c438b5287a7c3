//! Ctrl-C and what schedulers send: the first one asks to stop where nothing is lost, the second one stops.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use super::failure::{Exit, Failure};

/// The code of the error.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Whether somebody asked to stop.
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// Whether the next signal ends the process at once.
    at_once: Arc<AtomicBool>,
}

/// Lets a file that may not become larger be an error like a full disk, instead of the end of the process,
/// which would leave what is half written.
pub(crate) fn survive_full_quota() {
    // Where nobody can listen, it is as it was.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

impl Stop {
    /// Listens from now on until it is dropped; before and behind that, signals end the process at once.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let stop = Self { asked: Arc::default(), at_once: Arc::default() };
        stop.register().map_err(|error| Failure::reading(Path::new("signals"), &error))?;
        Ok(stop)
    }

    fn register(&self) -> io::Result<()> {
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM] {
            // What runs behind `nohup` or in the background of a script is not meant.
            if ignored & (1 << (signal - 1)) != 0 {
                continue;
            }
            // They are looked at in this order, so that the first signal does not end the process.
            let exit = Exit::Interrupted as i32;
            flag::register_conditional_shutdown(signal, exit, Arc::clone(&self.at_once))?;
            flag::register(signal, Arc::clone(&self.at_once))?;
            flag::register(signal, Arc::clone(&self.asked))?;
        }
        Ok(())
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The signals that whoever started this process had it ignore, a bit for each, where the system tells.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.at_once.store(true, Ordering::Relaxed);
    }
}

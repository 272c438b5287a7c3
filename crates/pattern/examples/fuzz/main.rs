//! Looks for texts that make the reader of patterns panic, or that take it more than a second.
//!
//! ```text
//! cargo run --example fuzz -- SECONDS [SEED [FIRST]] -- FILE|FOLDER…
//! ```
//!
//! With `--print`, only the text FIRST is printed.
//!
//! The files (`.pat`, and `.case` with `---` sections) are the seeds. A finding is printed with its
//! seed and number, by which it is found again, and the run goes on; it fails in the end.

#![allow(clippy::print_stdout, reason = "it reports to a terminal")]

mod mutate;
mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mutate::{Random, mutated};

/// A text that takes longer than this is a finding.
const SLOW: Duration = Duration::from_secs(1);
/// After this the run ends at a text, on a machine however busy.
const STUCK: Duration = Duration::from_secs(60);

fn main() -> std::process::ExitCode {
    let mut numbers: Vec<u64> = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        match argument.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => paths.push(argument.into()),
        }
    }
    let seconds = numbers.first().copied().unwrap_or(10);
    let seed = numbers.get(1).copied().unwrap_or(1);
    let first = numbers.get(2).copied().unwrap_or(0);
    let mut seeds = Vec::new();
    paths.iter().for_each(|path| collect(path, &mut seeds));
    if seeds.is_empty() {
        println!("no seeds: name files or folders after the numbers");
        return std::process::ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|_| {}));
    let current = Arc::new(AtomicU64::new(first));
    watch(seed, Arc::clone(&current));
    let start = Instant::now();
    let (mut slowest, mut findings, mut read, mut number) = (Duration::ZERO, 0, 0, first);
    while start.elapsed().as_secs() < seconds {
        let text = mutated(&seeds, &mut Random::new(seed, number));
        if std::env::args().any(|argument| argument == "--print") {
            println!("{text}");
            return std::process::ExitCode::SUCCESS;
        }
        current.store(number, Ordering::Relaxed);
        let before = busy();
        let result = std::panic::catch_unwind(|| read::read(&text));
        let took = busy().saturating_sub(before);
        slowest = slowest.max(took);
        let finding = match result {
            Err(panic) => Some(said(&*panic)),
            Ok(_) if took > SLOW => Some(format!("took {took:?}")),
            Ok(accepted) => {
                read += u64::from(accepted);
                None
            }
        };
        if let Some(finding) = finding {
            findings += 1;
            println!("seed {seed} number {number}: {finding}\n{text}\n────────");
        }
        number += 1;
    }
    let texts = number - first;
    println!(
        "{texts} texts from {} seeds in {seconds} s, {read} of them accepted; slowest {slowest:?}; {findings} findings",
        seeds.len()
    );
    std::process::ExitCode::from(u8::from(findings > 0))
}

/// The time that this thread has had a processor, where the system tells: a busy machine makes no
/// text slow.
fn busy() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let told = told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
    told.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        Duration::from_nanos,
    )
}

/// Ends the run at a text that does not come to an end.
fn watch(seed: u64, current: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let number = current.load(Ordering::Relaxed);
            if number != last {
                (last, since) = (number, Instant::now());
            } else if since.elapsed() > STUCK {
                println!("seed {seed} number {number}: does not come to an end");
                std::process::exit(1);
            }
        }
    });
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    format!("panics: {}", text.unwrap_or("without a message"))
}

/// Adds the texts of a file, or of all files below a folder in the order of their names.
fn collect(path: &Path, seeds: &mut Vec<String>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| collect(entry, seeds));
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let Ok(text) = std::fs::read_to_string(path) else { return };
    match extension {
        Some("pat") => seeds.push(text),
        Some("case") => seeds.extend(text.split("--- ").skip(1).filter_map(|section| {
            let (head, body) = section.split_once('\n')?;
            let pattern = head.starts_with("pattern") || head.ends_with(".pat");
            pattern.then(|| body.to_owned())
        })),
        _ => {}
    }
}

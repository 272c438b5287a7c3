//! How far a run is, as it is shown.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use marquetry_quant::pass::Progress;
use serde_json::json;

use crate::cli::args::{self, Cli};

/// A bar for each pass that says how far it is; nothing where standard error is no terminal. Or a line of
/// JSON for each step.
pub(crate) struct Bars {
    shown: bool,
    lines: bool,
    current: RefCell<Option<(String, ProgressBar)>>,
}

impl Bars {
    pub(crate) fn new(cli: &Cli) -> Self {
        let bars = cli.progress == args::Progress::Auto && !cli.quiet;
        let lines = cli.progress == args::Progress::Json;
        Self { shown: bars && io::stderr().is_terminal(), lines, current: RefCell::new(None) }
    }

    pub(crate) fn show(&self, progress: Progress<'_>) {
        if self.lines {
            let Progress { pass, done, total } = progress;
            let event = json!({ "event": "progress", "pass": pass, "done": done, "total": total });
            crate::cli::tell(&format!("{event}\n"));
        }
        let Some(total) = progress.total.filter(|_| self.shown) else { return };
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|(pass, _)| pass != progress.pass) {
            let style =
                ProgressStyle::with_template("{prefix:>12} {bar:40} {pos}/{len} {eta} left")
                    .expect("the template is correct");
            let bar =
                ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr())
                    .with_style(style);
            bar.set_prefix(progress.pass.to_owned());
            *current = Some((progress.pass.to_owned(), bar));
        }
        if let Some((_, bar)) = &*current {
            bar.set_position(progress.done as u64);
        }
    }

    pub(crate) fn finish(&self) {
        if let Some((_, bar)) = self.current.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

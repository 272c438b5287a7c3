//! `marquetry completions` and `marquetry man`: what a shell and a reader of manuals know of the command.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use marquetry_quant::pass::{Content, Output};
use serde_json::json;

use super::answer::{Answer, plural};
use super::args::{Cli, Completions, EXIT_CODES, ManPages};
use super::failure::{Exit, Failure};
use super::outputs;

const NAME: &str = "marquetry";

/// The script that a shell reads.
pub(crate) fn completions(args: &Completions) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({ "schema_version": 1, "text": script });
    Answer::new(script, json)
}

/// The page of the command on standard output, or one page for each verb in a folder.
pub(crate) fn man(args: &ManPages) -> Result<Answer, Failure> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.output else {
        let page = page(&command).map_err(|error| Failure::writing(Path::new(NAME), &error))?;
        return Ok(Answer::new(page.clone(), json!({ "schema_version": 1, "text": page })));
    };
    if outputs::is_standard(folder) {
        let message = "there is a page for each verb, and they go to a folder";
        return Err(Failure::new(Exit::Usage, "not_to_stdout", message)
            .at(folder.display())
            .hint("leave `-o` out for the page of the command alone; `./-` is a folder"));
    }
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::new(
            Exit::Io,
            "no_folder",
            "this is a file, and pages go to a folder",
        )
        .at(folder.display())
        .hint("give the path of a folder; it is made where it is missing"));
    }
    fs::create_dir_all(folder).map_err(|error| Failure::writing(folder, &error))?;
    let mut pages = Vec::new();
    collect(&command, &mut pages).map_err(|error| Failure::writing(folder, &error))?;
    let written: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
    let output = |(name, text): (String, String)| Output {
        path: folder.join(name),
        content: Content::Text(text),
    };
    outputs::write(&pages.into_iter().map(output).collect::<Vec<_>>())?;
    let text = format!("{}: {}\n", folder.display(), plural(written.len(), "page"));
    Ok(Answer::new(text, json!({ "schema_version": 1, "written": written })))
}

/// The page of a command and those of all below it, each with the name of its file.
fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or(NAME);
    pages.push((format!("{name}.1"), page(command)?));
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
    verbs.into_iter().try_for_each(|verb| collect(verb, pages))
}

fn page(command: &Command) -> std::io::Result<String> {
    let mut page = Vec::new();
    let man = Man::new(command.clone().after_help(None));
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for line in EXIT_CODES.lines().skip(1) {
        if let Some((code, what)) = line.trim().split_once(char::is_whitespace) {
            writeln!(page, ".TP\n\\fB{code}\\fR\n{}", what.trim())?;
        }
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

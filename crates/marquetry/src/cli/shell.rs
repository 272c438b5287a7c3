//! `marquetry completions` and `marquetry man`: what a shell and a reader of manuals know of the command.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use marquetry_quant::pass::{Content, Output};
use serde_json::json;

use super::answer::{Answer, plural};
use super::args::{Cli, Completions, ManPages};
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
    if !folder.is_dir() {
        let message = format!("there is no folder `{}`", folder.display());
        return Err(Failure::new(Exit::Io, "no_folder", message)
            .at(folder.display())
            .hint("make the folder first, or choose another place with `-o`"));
    }
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
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

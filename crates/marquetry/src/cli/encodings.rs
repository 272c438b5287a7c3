//! `marquetry encodings`: files of encodings to models, back, and from version to version.

use std::path::{Path, PathBuf};

use marquetry_ir::{Graph, Model, Slot, infer};
use marquetry_quant::encodings::{
    self, Applied, Completeness, Document, EncodingsError, State, Version,
};
use marquetry_quant::export::qdq;
use marquetry_quant::pass::{Content, Output};
use marquetry_quant::{PassError, Plan, Role, import};
use serde_json::json;

use super::answer::{Answer, plural};
use super::args::{Cli, Encodings};
use super::failure::{Exit, Failure};
use super::{load, outputs};

pub(crate) fn run(args: &Encodings, cli: &Cli) -> Result<Answer, Failure> {
    match args {
        Encodings::Import { model, encodings: file, .. } | Encodings::Check { model, file, .. } => {
            load::one_standard_input(&[model, file])?;
        }
        Encodings::Convert { file, model: Some(model), .. } => {
            load::one_standard_input(&[model, file])?;
        }
        _ => {}
    }
    match args {
        Encodings::Export { model, output, float, .. } => export(model, output, float, cli),
        Encodings::Import { model, encodings, output, lenient, dry_run, .. } => {
            let output = output.as_deref().filter(|_| !dry_run);
            import_(model, encodings, output, !lenient, cli)
        }
        Encodings::Convert { file, output, model, lenient, .. } => {
            convert(file, output, model.as_deref(), !lenient, cli)
        }
        Encodings::Check { model, file, .. } => check(model, file, cli),
    }
}

/// `FILE@VERSION`.
pub(crate) fn target(text: &str) -> Result<(PathBuf, Version), Failure> {
    let (path, version) = match text.rsplit_once('@') {
        Some((path, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            (path, version)
        }
        _ => (text, "1.0.0"),
    };
    let known = Version::parse(version)
        .ok_or_else(|| failure(&EncodingsError::Version { version: version.to_owned() }))?;
    Ok((PathBuf::from(path), known))
}

fn failure(error: &EncodingsError) -> Failure {
    let exit = match error {
        EncodingsError::Version { .. } | EncodingsError::CannotHold { .. } => Exit::Unsupported,
        EncodingsError::NeedsModel { .. } => Exit::Usage,
        _ => Exit::Invalid,
    };
    Failure::new(exit, error.code(), error).hint(error.hint())
}

fn pass_failure(error: &PassError) -> Failure {
    let exit = match error {
        PassError::NotInOnnx { .. } | PassError::Opset { .. } => Exit::Unsupported,
        _ => Exit::Invalid,
    };
    let failure = Failure::new(exit, error.code(), error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn read(path: &Path) -> Result<Document, Failure> {
    let text = load::text(path, load::MOST_MADE)?;
    encodings::parse(&text).map_err(|error| failure(&error).at(load::shown(path).display()))
}

/// Writes files; returns the one for standard output.
fn write(outputs_: Vec<Output>, read: &[PathBuf]) -> Result<Option<Vec<u8>>, Failure> {
    let paths: Vec<&Path> = outputs_.iter().map(|output| output.path.as_path()).collect();
    for path in &paths {
        outputs::writable(path)?;
    }
    outputs::apart(&paths, read)?;
    outputs::write(&outputs_)
}

/// The text of a plan, how many encodings it holds, and what is to be said of it.
fn render(
    model: &Model,
    plan: &Plan,
    version: Version,
) -> Result<(String, usize, Vec<String>), Failure> {
    let types = infer::run(model);
    let document =
        encodings::of_plan(&model.graph, &types, plan, version).map_err(|error| failure(&error))?;
    let text = encodings::render(&document, version).map_err(|error| failure(&error))?;
    Ok((text, document.entries.len(), document.notes))
}

/// The quantizers of a quantized model as a file.
fn export(
    path: &Path,
    output: &str,
    float: &Option<PathBuf>,
    cli: &Cli,
) -> Result<Answer, Failure> {
    let (output, version) = target(output)?;
    let model = load::model(path, cli)?;
    let imported = import::qdq(&model).map_err(|error| pass_failure(&error).at(path.display()))?;
    let (text, count, unclear) = render(&imported.model, &imported.plan, version)?;
    let partly = partly(&imported.model.graph, &imported.plan);
    let content = Content::Text(text);
    let mut files = vec![Output { path: output.clone(), content }];
    if let Some(float) = float {
        let content = Content::Model(Box::new(imported.model));
        files.push(Output { path: float.clone(), content });
    }
    let written: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    let file = write(files, &[path.to_owned()])?;
    let text = format!(
        "{}: {} of version {}\n",
        output.display(),
        plural(count, "encoding"),
        version.name()
    );
    let json = json!({
        "schema_version": 1, "version": version.name(), "encodings": count, "written": written,
    });
    let mut notes = imported.notes;
    notes.extend(unclear);
    notes.extend(partly);
    if count == 0 {
        notes.push("the model has no quantizers, so there is nothing to write".to_owned());
    }
    Ok(noted(Answer { file, ..Answer::new(text, json) }, &notes))
}

/// A note of tensors that some readers have quantized and others as they are, which no version can say.
fn partly(graph: &Graph, plan: &Plan) -> Option<String> {
    let activations = plan.enabled().filter(|(_, site)| site.role == Role::Activation);
    let mut partly = activations.filter(|(value, site)| {
        let uses = graph.uses(*value);
        let readers = uses.iter().filter(|reader| matches!(reader.slot, Slot::Input(_))).count();
        readers > site.readers.iter().filter(|one| matches!(one.slot, Slot::Input(_))).count()
    });
    let (first, _) = partly.next()?;
    let name = graph.value(first).name();
    Some(format!(
        "{} quantized for some of their readers only, such as `{name}`: whoever puts the file on a model \
         quantizes them for all",
        match partly.count() + 1 {
            1 => "1 tensor is".to_owned(),
            count => format!("{count} tensors are"),
        }
    ))
}

fn noted(mut answer: Answer, notes: &[String]) -> Answer {
    answer.json["notes"] = json!(notes);
    notes.iter().for_each(|note| answer.note(note.clone()));
    answer
}

/// A float model with the quantizers of a file; without an output, what it would have.
fn import_(
    path: &Path,
    file: &Path,
    output: Option<&Path>,
    strict: bool,
    cli: &Cli,
) -> Result<Answer, Failure> {
    let model = load::model(path, cli)?;
    let document = read(file)?;
    let applied = encodings::apply(&document, &model, strict)
        .map_err(|error| failure(&error).at(file.display()))?;
    let complete = completeness(&applied);
    let lowered = qdq::lower(&applied.model, &applied.plan)
        .map_err(|error| pass_failure(&error).at(path.display()))?;
    let text = format!(
        "{}{} QuantizeLinear and {} DequantizeLinear from {}\n{}",
        output.map_or_else(String::new, |output| format!("{}: ", output.display())),
        lowered.quantize,
        lowered.dequantize,
        plural(applied.plan.enabled().count(), "encoding"),
        counts(&complete),
    );
    let mut notes = applied.notes;
    notes.extend(lowered.notes);
    let content = || Content::Model(Box::new(lowered.model));
    let mut read = vec![path.to_owned(), file.to_owned()];
    read.extend(outputs::sidecars(path, &model));
    let sent = match output {
        Some(output) => write(vec![Output { path: output.to_owned(), content: content() }], &read)?,
        None => None,
    };
    let json = json!({
        "schema_version": 1,
        "encodings": applied.plan.enabled().count(),
        "quantize": lowered.quantize,
        "dequantize": lowered.dequantize,
        "completeness": complete,
        "written": output.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    });
    Ok(noted(Answer { file: sent, ..Answer::new(text, json) }, &notes))
}

fn completeness(applied: &Applied) -> Completeness {
    let types = infer::run(&applied.model);
    encodings::completeness(&applied.model.graph, &types, &applied.plan)
}

fn counts(complete: &Completeness) -> String {
    format!(
        "{} present, {} derived, {} missing\n",
        complete.count(State::Present),
        complete.count(State::Derived),
        complete.count(State::Missing)
    )
}

/// A file of one version as one of another.
fn convert(
    file: &Path,
    output: &str,
    model: Option<&Path>,
    strict: bool,
    cli: &Cli,
) -> Result<Answer, Failure> {
    let (output, version) = target(output)?;
    let document = read(file)?;
    let mut inputs = vec![file.to_owned()];
    let ((text, count), notes) = match model {
        None => {
            let text = encodings::render(&document, version)
                .map_err(|error| failure(&error).at(file.display()))?;
            ((text, document.entries.len()), document.notes.clone())
        }
        Some(path) => {
            inputs.push(path.to_owned());
            let model = load::model(path, cli)?;
            let applied = encodings::apply(&document, &model, strict)
                .map_err(|error| failure(&error).at(file.display()))?;
            let (text, count, unclear) = render(&applied.model, &applied.plan, version)?;
            ((text, count), [applied.notes, unclear].concat())
        }
    };
    let content = Content::Text(text);
    let sent = write(vec![Output { path: output.clone(), content }], &inputs)?;
    let from = document.version.map_or("tensor overrides", Version::name);
    let text = format!(
        "{}: {} from {from} to {}\n",
        output.display(),
        plural(count, "encoding"),
        version.name()
    );
    let json = json!({
        "schema_version": 1,
        "from": from,
        "to": version.name(),
        "encodings": count,
        "written": [output.display().to_string()],
    });
    Ok(noted(Answer { file: sent, ..Answer::new(text, json) }, &notes))
}

/// Whether a target that runs everything on integers finds all it asks for.
fn check(path: &Path, file: &Path, cli: &Cli) -> Result<Answer, Failure> {
    let model = load::model(path, cli)?;
    let document = read(file)?;
    let applied = encodings::apply(&document, &model, false)
        .map_err(|error| failure(&error).at(file.display()))?;
    let complete = completeness(&applied);
    let mut text = String::new();
    for (state, word) in [(State::Missing, "missing"), (State::Derived, "derived")] {
        for tensor in complete.tensors.iter().filter(|tensor| tensor.state == state) {
            text.push_str(&format!("{word:8} {} ({})\n", tensor.name, tensor.role));
        }
    }
    text.push_str(&counts(&complete));
    let mut json = serde_json::to_value(&complete).expect("names and states are plain data");
    json["schema_version"] = json!(1);
    let mut answer = noted(Answer::new(text, json), &applied.notes);
    if complete.count(State::Missing) > 0 {
        answer.found = Some(Exit::Found);
    }
    Ok(answer)
}

//! Files, what they import, and which names each of them sees.

use std::collections::{BTreeMap, VecDeque};

use crate::ast::{File, Item, Use};
use crate::core::OpsetRange;
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::parse;
use crate::similar::closest;
use crate::source::{Loader, Sources};
use crate::span::{SourceId, Span};

/// The largest file that is read.
const MAX_BYTES: usize = 16 << 20;

/// A file with the names that its items may use.
pub(crate) struct Unit {
    pub(crate) file: File,
    pub(crate) names: BTreeMap<String, Decl>,
    pub(crate) opsets: Vec<OpsetRange>,
    /// One of the files asked for, not only used by one.
    pub(crate) root: bool,
    pub(crate) imports: Vec<(usize, Use)>,
    pub(crate) source: SourceId,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decl {
    /// The file that declares it.
    pub(crate) unit: usize,
    /// The item in that file.
    pub(crate) item: usize,
    /// The name in its declaration.
    pub(crate) span: Span,
}

/// Loads `roots` and all that they use. Units are in load order, the roots first.
pub(crate) fn resolve(
    loader: &dyn Loader,
    roots: &[&str],
    sources: &mut Sources,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Unit> {
    let mut resolver =
        Resolver { loader, sources, errors, units: Vec::new(), by_path: BTreeMap::new() };
    let mut waiting = VecDeque::new();
    for root in roots {
        if let Some(unit) = resolver.load(root, None) {
            waiting.push_back(unit);
        }
    }
    while let Some(unit) = waiting.pop_front() {
        let uses: Vec<Use> = resolver.units[unit].uses().cloned().collect();
        for import in uses {
            let known = resolver.by_path.contains_key(&normal(&import.path.text));
            if let Some(target) = resolver.load(&import.path.text, Some(import.path.span)) {
                if !known {
                    waiting.push_back(target);
                }
                resolver.units[unit].imports.push((target, import));
            }
        }
    }
    resolver.cycles();
    resolver.names();
    resolver.units
}

struct Resolver<'r> {
    loader: &'r dyn Loader,
    sources: &'r mut Sources,
    errors: &'r mut Vec<Diagnostic>,
    units: Vec<Unit>,
    /// `None` where loading failed, so that it is reported once.
    by_path: BTreeMap<String, Option<usize>>,
}

impl Resolver<'_> {
    fn load(&mut self, path: &str, from: Option<Span>) -> Option<usize> {
        let key = normal(path);
        if let Some(unit) = self.by_path.get(&key) {
            return *unit;
        }
        let unit = self.read(path, from);
        self.by_path.insert(key, unit);
        unit
    }

    fn read(&mut self, path: &str, from: Option<Span>) -> Option<usize> {
        let bytes = match self.loader.load(path) {
            Ok(bytes) if bytes.len() <= MAX_BYTES => bytes,
            Ok(bytes) => {
                let fact = format!("`{path}` has {} bytes, more than {MAX_BYTES}", bytes.len());
                self.refuse(path, from, fact, "split it");
                return None;
            }
            Err(error) => {
                self.refuse(path, from, error.to_string(), error.hint());
                return None;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
                let source = self.sources.add(path, &text);
                let fact = format!("byte {good} is not UTF-8");
                let place = Span::new(source, good, good);
                let error = Diagnostic::new(Code::Load, place, fact);
                self.errors.push(error.help("save the file as UTF-8"));
                return None;
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let source = self.sources.add(path, text);
        let (file, mut errors) = parse(source, text);
        self.errors.append(&mut errors);
        let opsets = file.items.iter().filter_map(|item| match item {
            Item::Opset(range) => Some(range.clone()),
            _ => None,
        });
        let opsets = opsets.collect();
        self.units.push(Unit {
            opsets,
            root: from.is_none(),
            file,
            names: BTreeMap::new(),
            imports: Vec::new(),
            source,
        });
        Some(self.units.len() - 1)
    }

    fn refuse(&mut self, path: &str, from: Option<Span>, fact: String, help: &str) {
        let place = from.unwrap_or_else(|| Span::new(self.sources.add(path, ""), 0, 0));
        self.errors.push(Diagnostic::new(Code::Load, place, fact).help(help));
    }

    /// Reports each circle of imports once, and cuts it at the import that closes it.
    fn cycles(&mut self) {
        let mut done = vec![false; self.units.len()];
        for start in 0..self.units.len() {
            let mut path = vec![(start, 0)];
            while let Some((unit, next)) = path.last_mut() {
                let unit = *unit;
                if done[unit] {
                    path.pop();
                    continue;
                }
                let Some(&(target, ref import)) = self.units[unit].imports.get(*next) else {
                    done[unit] = true;
                    path.pop();
                    continue;
                };
                let closing = import.path.span;
                if let Some(at) = path.iter().position(|(unit, _)| *unit == target) {
                    let circle: Vec<(usize, usize)> = path[at..].to_vec();
                    let mut error = Diagnostic::new(
                        Code::ImportCycle,
                        closing,
                        "this import closes the circle",
                    );
                    for (unit, next) in &circle[..circle.len() - 1] {
                        // Files on the way here already point past the import that was taken.
                        let (target, import) = &self.units[*unit].imports[*next - 1];
                        let used = &self.sources.get(self.units[*target].source).path;
                        error = error.label(import.path.span, format!("uses `{used}`"));
                    }
                    let help = "move what both files need into a file of its own";
                    self.errors.push(error.help(help));
                    let (unit, next) = *circle.last().expect("a circle has a file");
                    self.units[unit].imports.remove(next);
                } else {
                    path.last_mut().expect("the path is not empty").1 += 1;
                    path.push((target, 0));
                }
            }
        }
    }

    fn names(&mut self) {
        let own: Vec<BTreeMap<String, Decl>> =
            (0..self.units.len()).map(|at| self.own(at)).collect();
        for (at, mine) in own.iter().enumerate() {
            let mut names = mine.clone();
            for (target, import) in &self.units[at].imports {
                let theirs = &own[*target];
                let taken: Vec<(&str, Span)> = match &import.names {
                    Some(list) => list.iter().map(|name| (name.text.as_str(), name.span)).collect(),
                    None => theirs.keys().map(|name| (name.as_str(), import.path.span)).collect(),
                };
                for (name, place) in taken {
                    let Some(decl) = theirs.get(name) else {
                        let fact = format!("`{}` declares no `{name}`", import.path.text);
                        let help = closest(name, theirs.keys().map(String::as_str))
                            .map(|name| format!("did you mean `{name}`?"));
                        let error = Diagnostic::new(Code::UnknownName, place, fact);
                        self.errors.push(error.help_maybe(help));
                        continue;
                    };
                    match names.insert(name.to_owned(), *decl) {
                        Some(first) if first != *decl => {
                            let (place, other) = match first.unit == at {
                                true => (first.span, decl.span),
                                false => (place, first.span),
                            };
                            let fact = format!(
                                "`{name}` is also imported by `use \"{}\"`",
                                import.path.text
                            );
                            let help = format!(
                                "rename it, or import selectively: use \"{}\" {{ … }}",
                                import.path.text
                            );
                            let error = Diagnostic::new(Code::DuplicateName, place, fact);
                            self.errors.push(error.label(other, "also declared here").help(help));
                            names.insert(name.to_owned(), first);
                        }
                        _ => {}
                    }
                }
            }
            self.units[at].names = names;
        }
    }

    /// The names that a file declares, rules excepted: nothing can call those.
    fn own(&mut self, at: usize) -> BTreeMap<String, Decl> {
        let mut names: BTreeMap<String, Decl> = BTreeMap::new();
        let mut rules: BTreeMap<String, Decl> = BTreeMap::new();
        for (item, content) in self.units[at].file.items.iter().enumerate() {
            let (name, space) = match content {
                Item::Def(def) => (&def.name, &mut names),
                Item::Pattern(pattern) => (&pattern.name, &mut names),
                Item::Ops(ops) => (&ops.name, &mut names),
                Item::Rule(rule) => (&rule.name, &mut rules),
                Item::Use(_) | Item::Opset(_) | Item::Test(_) => continue,
            };
            if let Some(first) = space.get(&name.text) {
                let fact = format!("`{}` is declared a second time", name.text);
                let error = Diagnostic::new(Code::DuplicateName, name.span, fact);
                let error = error.label(first.span, "first here").help("rename one of them");
                self.errors.push(error);
                continue;
            }
            space.insert(name.text.clone(), Decl { unit: at, item, span: name.span });
        }
        names
    }
}

impl Unit {
    /// The files that this one uses.
    pub(crate) fn imported(&self) -> impl Iterator<Item = usize> {
        self.imports.iter().map(|(unit, _)| *unit)
    }

    fn uses(&self) -> impl Iterator<Item = &Use> {
        self.file.items.iter().filter_map(|item| match item {
            Item::Use(import) => Some(import),
            _ => None,
        })
    }
}

/// One spelling for each path: `./std//math.pat` is `std/math.pat`.
pub(crate) fn normal(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

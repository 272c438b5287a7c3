//! `marquetry why`: why a pattern does not match.

mod draw;

use std::path::Path;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, Model, NodeId};
use marquetry_matcher::why::{
    At, Explanation, NearMiss, State, Stop, Suggestion, Unlocated, Verdict,
};
use marquetry_matcher::{Bound, GroupId, Match, Matches, Options, PlaceId};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::{Library, Sources};
use serde_json::{Map, Value, json};

use super::answer::{Answer, plural};
use super::args::{Cli, Why};
use super::failure::{Exit, Failure};
use super::load;
use super::match_::{node_label, shown, value};

/// Kinds of near misses that are listed.
const KINDS: usize = 12;

/// Changes that are shown.
const CHANGES: usize = 4;

pub(crate) fn run(args: &Why, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(&args.patterns.files, cli)?;
    let pattern = pattern(&library, &args.pattern)?;
    let model = load::model(&args.model, cli)?;
    let types = marquetry_ir::infer::run(&model);
    let why = marquetry_matcher::why::Why::new(&model, &types, library.sources());
    let places = marquetry_matcher::find(&model, &types, [], &Options::default());
    let asked = Asked { model: &model, types: &types, library: &library, pattern, places };
    match &args.at {
        Some(name) => {
            let at = why.locate(name).map_err(|error| unlocated(&error, &args.model))?;
            let (explanation, changes) = why.suggest(pattern, at);
            Ok(asked.at(name, at, &explanation, &changes))
        }
        None => Ok(asked.near(&why.nearest(pattern, KINDS))),
    }
}

/// The pattern or rule of this name.
fn pattern<'l>(library: &'l Library, name: &str) -> Result<&'l Pattern, Failure> {
    let all = || library.patterns().iter().chain(library.rules());
    if let Some(pattern) = all().find(|pattern| pattern.name == name) {
        return Ok(pattern);
    }
    Err(load::unknown("pattern", name, all().map(|pattern| pattern.name.as_str())))
}

/// Why no place of a model has the name that was given.
pub(crate) fn unlocated(error: &Unlocated, model: &Path) -> Failure {
    let quoted = |names: &[String]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let hint = match error {
        Unlocated::Unknown { similar, .. } if similar.is_empty() => {
            "`marquetry print` shows the names; `op:Sqrt` is the only node of an operator"
                .to_owned()
        }
        Unlocated::Unknown { similar, .. } => format!("did you mean {}?", quoted(similar)),
        Unlocated::NoSuchOperator { known, .. } => format!("the model has {}", known.join(", ")),
        Unlocated::Ambiguous { some, .. } => {
            format!("name one of them, such as {}", quoted(some))
        }
    };
    Failure::new(Exit::Usage, error.code(), error).at(model.display()).hint(hint)
}

/// What was asked about.
struct Asked<'a> {
    model: &'a Model,
    types: &'a Types,
    library: &'a Library,
    pattern: &'a Pattern,
    /// Where things are; the places of a model do not depend on what is searched for.
    places: Matches,
}

/// What other patterns make of a place.
#[derive(Default)]
struct Neighbours {
    /// The group that is accepted instead of the match, with the name of its anchor.
    superseded_by: Option<(String, String)>,
    /// Patterns that match here.
    here: Vec<String>,
}

impl Asked<'_> {
    fn sources(&self) -> &Sources {
        self.library.sources()
    }

    fn at(&self, name: &str, at: At, explanation: &Explanation, changes: &[Suggestion]) -> Answer {
        let neighbours = self.neighbours(at, explanation);
        let changes = &changes[..changes.len().min(CHANGES)];
        let graph = self.graph(explanation.place);
        let pattern = &self.pattern.name;
        let (text, mut json) = match &explanation.verdict {
            Verdict::Match(found) => (
                self.matched(graph, found, &neighbours),
                json!({ "matches": true, "bindings": bindings(graph, found) }),
            ),
            Verdict::Miss(stop) => {
                let head = match explanation.anchor {
                    _ if explanation.lines.is_empty() => {
                        format!("{pattern} at {name}: no match, {}\n", stop.message)
                    }
                    _ => {
                        let (satisfied, all) = explanation.satisfied();
                        let line = self.sources().position(stop.at).0;
                        let stopped =
                            explanation.lines.iter().any(|line| line.state == State::Stopped);
                        let end = match stopped {
                            true => format!("and stopped at line {line}"),
                            false => "but not what must hold of a match as a whole".to_owned(),
                        };
                        let count = plural(all, "equation");
                        format!(
                            "{pattern} at {name}: no match. The best attempt holds {satisfied} of {count}, \
                             {end}.\n\n"
                        )
                    }
                };
                let mut text = head + &draw::attempt(self.sources(), explanation, stop);
                text.push_str(&draw::alternatives(self.sources(), stop));
                text.push_str(&draw::changes(self.sources(), changes));
                if !neighbours.here.is_empty() {
                    text.push_str(&format!(
                        "\nWhat matches here: {}\n",
                        neighbours.here.join(", ")
                    ));
                }
                (text, json!({ "matches": false, "stop": self.stop(graph, stop) }))
            }
        };
        json["schema_version"] = json!(1);
        json["pattern"] = json!(pattern);
        json["asked"] = json!(name);
        self.extend(&mut json, graph, explanation);
        json["changes"] = changes.iter().map(|change| self.change(change)).collect();
        json["superseded_by"] =
            neighbours.superseded_by.map_or(Value::Null, |(pattern, _)| json!(pattern));
        json["others"] = json!(neighbours.here);
        let mut answer = Answer::new(text, json);
        if explanation.exhausted {
            answer.note("the search was given up before all ways were tried");
        }
        answer
    }

    fn near(&self, nearest: &marquetry_matcher::why::Nearest) -> Answer {
        let name = &self.pattern.name;
        let mut text = format!(
            "{name}: {}, {}\n",
            match nearest.matches {
                1 => "1 match".to_owned(),
                count => format!("{count} matches"),
            },
            match nearest.misses.len() {
                0 => "no near miss".to_owned(),
                1 => "1 kind of near miss".to_owned(),
                count => format!("{count} kinds of near misses"),
            },
        );
        for miss in &nearest.misses {
            text.push('\n');
            let graph = self.graph(miss.explanation.place);
            let label = |(place, node): (PlaceId, NodeId)| label(self.graph(place), node);
            let anchor = miss
                .explanation
                .anchor
                .map_or_else(String::new, |node| label((miss.explanation.place, node)));
            let also: Vec<_> = miss.also.iter().map(|&also| label(also)).collect();
            text.push_str(&draw::near(self.sources(), graph, &anchor, miss, &also));
        }
        let misses: Vec<Value> = nearest.misses.iter().map(|miss| self.near_miss(miss)).collect();
        let json = json!({
            "schema_version": 1,
            "pattern": name,
            "matches": nearest.matches,
            "near": misses,
        });
        let mut answer = Answer::new(text, json);
        if nearest.exhausted > 0 {
            let places = plural(nearest.exhausted, "place");
            answer.note(format!("the search was given up at {places}: too many ways to try"));
        }
        if nearest.matches == 0 && nearest.misses.is_empty() {
            answer.found = Some(Exit::Found);
        }
        answer
    }

    fn graph(&self, place: PlaceId) -> &Graph {
        self.places.graph(self.model, place)
    }

    /// What the whole library finds here.
    fn neighbours(&self, at: At, explanation: &Explanation) -> Neighbours {
        let patterns = self.library.patterns();
        let found = marquetry_matcher::find(self.model, self.types, patterns, &Options::default());
        let groups = marquetry_matcher::group(&found, patterns);
        let named = |id: GroupId| {
            let group = groups.get(id);
            let anchor = label(groups.graph(self.model, group.place), group.anchor);
            (group.pattern.clone(), anchor)
        };
        let superseded_by = match &explanation.verdict {
            Verdict::Match(own) => groups
                .superseded
                .iter()
                .find(|superseded| {
                    let other = &found.matches[superseded.index];
                    patterns[other.pattern].name == self.pattern.name
                        && (other.place, other.anchor) == (own.place, own.anchor)
                })
                .map(|superseded| named(superseded.by)),
            Verdict::Miss(_) => None,
        };
        let node = match at {
            At::Node(place, node) => Some((place, node)),
            At::Value(place, value) => {
                found.graph(self.model, place).producer(value).map(|(node, _)| (place, node))
            }
        };
        let mut here: Vec<String> = groups
            .groups
            .iter()
            .filter(|group| {
                node.is_some_and(|(place, node)| {
                    group.place == place && group.nodes.contains(&node)
                })
            })
            .map(|group| group.pattern.clone())
            .collect();
        here.dedup();
        Neighbours { superseded_by, here }
    }

    fn matched(&self, graph: &Graph, found: &Match, neighbours: &Neighbours) -> String {
        let pattern = &self.pattern.name;
        let nodes = plural(found.nodes.len(), "node");
        let mut text = format!("{pattern} matches at {} ({nodes}):\n", label(graph, found.anchor));
        for binding in &found.bindings {
            if !matches!(binding.bound, Bound::Absent) {
                text.push_str(&format!("  {} = {}\n", binding.name, shown(graph, &binding.bound)));
            }
        }
        match &neighbours.superseded_by {
            Some((by, at)) => text.push_str(&format!(
                "\nIt is no group: `{by}` at {at} is larger or has a higher priority, and takes its nodes.\n"
            )),
            None => text.push_str("\nIt is accepted as a group.\n"),
        }
        text
    }

    fn stop(&self, graph: &Graph, stop: &Stop) -> Value {
        let alternatives: Vec<Value> = stop
            .alternatives
            .iter()
            .map(|other| {
                json!({ "text": draw::one_line(self.sources().text(other.span)), "reason": other.message })
            })
            .collect();
        json!({
            "code": stop.code,
            "reason": stop.message,
            "file": self.sources().get(stop.span.source).path,
            "line": self.sources().position(stop.span).0,
            "text": draw::one_line(self.sources().text(stop.span)),
            "value": stop.value.map(|value| graph.value(value).name()),
            "node": stop.node.map(|node| label(graph, node)),
            "alternatives": alternatives,
        })
    }

    fn change(&self, change: &Suggestion) -> Value {
        json!({
            "change": change.change,
            "file": self.sources().get(change.span.source).path,
            "line": self.sources().position(change.span).0,
            "text": change.line,
            "further": change.further,
        })
    }

    fn near_miss(&self, miss: &NearMiss) -> Value {
        let graph = self.graph(miss.explanation.place);
        let mut json = json!({
            "also": miss.also.iter().map(|(place, node)| label(self.graph(*place), *node)).collect::<Vec<_>>(),
            "change": miss.suggestion.as_ref().map(|change| self.change(change)),
        });
        if let Verdict::Miss(stop) = &miss.explanation.verdict {
            json["stop"] = self.stop(graph, stop);
        }
        self.extend(&mut json, graph, &miss.explanation);
        json
    }

    fn extend(&self, json: &mut Value, graph: &Graph, explanation: &Explanation) {
        let (satisfied, all) = explanation.satisfied();
        json["anchor"] = json!(explanation.anchor.map(|node| label(graph, node)));
        json["nodes"] = explanation.nodes.iter().map(|&node| json!(label(graph, node))).collect();
        json["satisfied"] = json!(satisfied);
        json["equations"] = json!(all);
        json["lines"] = explanation
            .lines
            .iter()
            .map(|line| {
                json!({
                    "line": self.sources().position(line.span).0,
                    "text": draw::one_line(self.sources().text(line.span)),
                    "state": draw::state(line.state),
                    "notes": line.notes,
                })
            })
            .collect();
    }
}

/// The name of a node; one without a name goes by its first result.
fn label(graph: &Graph, node: NodeId) -> String {
    let result = graph.outputs(node).into_iter().flatten().next();
    match result {
        Some(value) if graph.node(node).name.is_empty() => graph.value(value).name().to_owned(),
        _ => node_label(graph, node),
    }
}

fn bindings(graph: &Graph, found: &Match) -> Value {
    let each = found.bindings.iter();
    let each = each.map(|binding| (binding.name.clone(), value(graph, &binding.bound)));
    each.collect::<Map<_, _>>().into()
}

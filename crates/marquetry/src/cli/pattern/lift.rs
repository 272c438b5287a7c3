//! `marquetry pattern lift`: a piece of a model as a pattern.

use marquetry_ir::{Model, NodeId, ValueId};
use marquetry_matcher::lift::{self, Selection};
use marquetry_matcher::why::{At, Why};
use marquetry_matcher::{PlaceId, Schemas};
use marquetry_pattern::{Library, Sources};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::args::{Cli, Lift};
use super::super::failure::{Exit, Failure};
use super::super::match_::node_label;
use super::super::{load, why};

pub(super) fn run(args: &Lift, cli: &Cli) -> Result<Answer, Failure> {
    if Library::parse(
        "name.pat",
        &format!("pattern {} (x) => (y) {{ y = Neg(x) }}", args.name),
        &Schemas,
    )
    .is_err()
    {
        let message = format!("`{}` cannot be the name of a pattern", args.name);
        let failure = Failure::new(Exit::Usage, "bad_name", message);
        return Err(failure.hint("names of patterns begin with a capital: letters, digits and `_`"));
    }
    let model = load::model(&args.model, cli)?;
    let types = marquetry_ir::infer::run(&model);
    let sources = Sources::default();
    let names = Names { args, model: &model, why: Why::new(&model, &types, &sources) };
    let selection = names.selection()?;
    let lifted = lift::lift(&model, &types, &selection, &args.name).map_err(|error| {
        let failure = Failure::new(Exit::Invalid, error.code(), &error);
        failure.at(args.model.display()).hint(error.hint())
    })?;
    let label = |node: &NodeId| node_label(&model.graph, *node);
    let value = |value: &ValueId| model.graph.value(*value).name().to_owned();
    let json = json!({
        "schema_version": 1,
        "text": lifted.text,
        "nodes": lifted.nodes.iter().map(label).map(Value::from).collect::<Vec<_>>(),
        "outputs": lifted.outputs.iter().map(value).map(Value::from).collect::<Vec<_>>(),
    });
    Ok(Answer::new(lifted.text, json))
}

/// Names of the model, as they are given on the command line.
struct Names<'a> {
    args: &'a Lift,
    model: &'a Model,
    why: Why<'a>,
}

impl Names<'_> {
    fn selection(&self) -> Result<Selection, Failure> {
        if let Some(range) = &self.args.nodes {
            let (from, to) = self.range(range)?;
            return Ok(Selection::Between { from: self.node(from)?, to: self.node(to)? });
        }
        if let Some(name) = &self.args.at {
            return Ok(Selection::At { node: self.node(name)?, depth: self.args.depth });
        }
        let values = |names: &[String]| -> Result<Vec<ValueId>, Failure> {
            names.iter().map(|name| self.value(name)).collect()
        };
        let outputs = values(&self.args.outputs)?;
        let inputs = if self.args.inputs.is_empty() {
            self.model.graph.inputs.clone()
        } else {
            values(&self.args.inputs)?
        };
        Ok(Selection::Values { inputs, outputs })
    }

    /// Both ends of `A..B`.
    fn range<'r>(&self, range: &'r str) -> Result<(&'r str, &'r str), Failure> {
        match range.split_once("..") {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from, to)),
            _ => {
                let message = format!("`{range}` is no range of nodes");
                let failure = Failure::new(Exit::Usage, "bad_range", message);
                Err(failure.hint("write the names of two nodes with `..` between them"))
            }
        }
    }

    fn at(&self, name: &str) -> Result<At, Failure> {
        let at = self.why.locate(name).map_err(|error| why::unlocated(&error, &self.args.model))?;
        let (At::Node(place, _) | At::Value(place, _)) = at;
        if place == PlaceId::MAIN {
            return Ok(at);
        }
        let message = format!("`{name}` is inside a body or a function");
        let failure = Failure::new(Exit::Unsupported, "not_in_main_graph", message);
        Err(failure.at(self.args.model.display()).hint("only the main graph is lifted from"))
    }

    fn node(&self, name: &str) -> Result<NodeId, Failure> {
        match self.at(name)? {
            At::Node(_, node) => Ok(node),
            At::Value(_, value) => match self.model.graph.producer(value) {
                Some((node, _)) => Ok(node),
                None => {
                    let message = format!("no node computes `{name}`");
                    let failure = Failure::new(Exit::Usage, "no_producer", message);
                    Err(failure
                        .at(self.args.model.display())
                        .hint("name a node, or what one computes"))
                }
            },
        }
    }

    fn value(&self, name: &str) -> Result<ValueId, Failure> {
        if let Some(value) = self.model.graph.find(name) {
            return Ok(value);
        }
        // The name of a node stands for what it computes.
        match self.at(name)? {
            At::Value(_, value) => Ok(value),
            At::Node(_, node) => {
                let outputs = self.model.graph.outputs(node);
                outputs.into_iter().flatten().next().ok_or_else(|| {
                    Failure::new(Exit::Usage, "no_result", format!("`{name}` computes nothing"))
                })
            }
        }
    }
}

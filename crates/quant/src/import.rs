//! A quantized model taken apart: the float model and the plan that lowers to it again.
//!
//! The inverse of [`crate::export::qdq`]: QuantizeLinear and DequantizeLinear become quantizers,
//! stored integers become the floats that they stand for. In bodies too: what a body reads by name is
//! quantized where it is defined, and the main graph holds what bodies store.

mod encoding;
mod finish;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Model, NodeId, Slot, ValueId};

use crate::inside::{self, Inside, Origin, Way};
use crate::pass::PassError;
use crate::plan::Plan;
use crate::{Encoding, element, qdq};

/// What a quantized model consists of.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model without QuantizeLinear and DequantizeLinear.
    pub model: Model,
    /// A frozen quantizer for every tensor that had them.
    pub plan: Plan,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
}

/// Takes a model apart. Pairs that cannot be read as a quantizer stay, with a note.
///
/// # Errors
///
/// When the graph cannot be worked with.
pub fn qdq(model: &Model) -> Result<Imported, PassError> {
    let types = infer::run(model);
    let mut import = Import {
        types: &types,
        model: model.clone(),
        way: Way::new(),
        found: Vec::new(),
        gone: Vec::new(),
        notes: Vec::new(),
    };
    import.graph_at(&model.graph, &model.graph);
    import.finish()
}

/// A quantizer that was found: the value, its name once it is float, and who reads it.
struct Found {
    at: Origin,
    /// Whether the value is a constant.
    constant: bool,
    /// The name of its integers.
    integers: String,
    encoding: Encoding,
    readers: Vec<Inside>,
    output: bool,
}

struct Import<'a> {
    types: &'a Types,
    model: Model,
    /// The graph that is taken apart.
    way: Way,
    found: Vec<Found>,
    /// Nodes that are part of quantizers.
    gone: Vec<(Way, NodeId)>,
    notes: Vec<String>,
}

const READ_BY_OTHERS: &str = "integers are read by something else than DequantizeLinear";

type Step = Result<(), String>;

impl Import<'_> {
    /// Takes a graph apart, and then the bodies in it.
    fn graph_at(&mut self, model: &Graph, graph: &Graph) {
        for node in graph.nodes() {
            let result = match graph.node(node).op_type.as_str() {
                "QuantizeLinear" => self.pair(node),
                "DequantizeLinear" => self.stored(node),
                _ => continue,
            };
            if let Err(what) = result {
                let label = inside::label(model, &self.way, node);
                self.notes.push(format!("{label} stays: {what}"));
            }
        }
        for node in graph.nodes() {
            for (at, body) in graph.node(node).bodies().enumerate() {
                self.way.push((node, at));
                self.graph_at(model, body);
                self.way.pop();
            }
        }
    }

    /// The graph at a way.
    fn at(&self, way: &[(NodeId, usize)]) -> &Graph {
        inside::body(&self.model.graph, way).expect("ways lead to bodies of the model")
    }

    fn at_mut(&mut self, way: &[(NodeId, usize)]) -> &mut Graph {
        inside::body_mut(&mut self.model.graph, way).expect("ways lead to bodies of the model")
    }

    /// The graph that is taken apart.
    fn graph(&self) -> &Graph {
        self.at(&self.way)
    }

    fn types(&self) -> &Types {
        inside::types(self.types, &self.way).expect("types are inferred at every depth")
    }

    /// The graph that defines a value, and the value there.
    fn origin(&self, way: &[(NodeId, usize)], value: ValueId) -> Option<Origin> {
        inside::origin(&self.model.graph, way, value)
    }

    /// The nodes that read a value of this graph, at any depth.
    fn readers(&self, way: &[(NodeId, usize)], value: ValueId) -> Result<Vec<Inside>, String> {
        inside::readers(&self.model.graph, way, value).ok_or_else(|| {
            let name = self.at(way).value(value).name();
            format!("a body gives `{name}` on as its own output")
        })
    }

    /// Lets readers read a value that is defined at `at`.
    fn redirect(&mut self, readers: &[Inside], at: &Origin) {
        let name = self.at(&at.0).value(at.1).name().to_owned();
        for Inside { way, reader } in readers {
            let here = *way == at.0;
            let graph = self.at_mut(way);
            let float = if here { at.1 } else { graph.value_named(&name) };
            if let Slot::Input(slot) = reader.slot {
                graph.set_input(reader.node, slot as usize, Some(float));
            }
        }
    }

    /// QuantizeLinear and the DequantizeLinear behind it.
    fn pair(&mut self, node: NodeId) -> Step {
        let (here, graph) = (self.way.clone(), self.graph());
        let (Some(read), Some(quantized)) = (graph.input(node, 0), graph.output(node, 0)) else {
            return Err("it lacks an input or an output".to_owned());
        };
        let Some(mut at) = self.origin(&here, read) else {
            return Err("nothing computes what it reads".to_owned());
        };
        if self.found.iter().any(|found| found.at == at) {
            return Err("its input is quantized twice".to_owned());
        }
        let behind = self.readers(&here, quantized)?;
        let input = |way: &Way, node: NodeId, slot: usize| {
            let value = self.at(way).input(node, slot)?;
            self.origin(way, value)
        };
        let all = behind.iter().all(|Inside { way, reader }| {
            self.at(way).node(reader.node).op_type == "DequantizeLinear"
                && reader.slot == Slot::Input(0)
                && (1..=2).all(|slot| input(way, reader.node, slot) == input(&here, node, slot))
        });
        if behind.is_empty() || !all || graph.is_output(quantized) {
            return Err(READ_BY_OTHERS.to_owned());
        }
        let stored = at.0.is_empty() || self.at(&at.0).value(at.1).constant.is_some();
        let constant = stored && self.types().is_constant(read);
        let rank = self.types().rank(read).unwrap_or(0);
        let dims = self.types().constant(read).map(|tensor| tensor.dims().to_vec());
        let encoding = self.encoding(node, rank, dims.as_deref())?;
        let integers = graph.value(quantized).name().to_owned();
        // Where it comes back, and who reads that; nothing is changed before all of it is known.
        let (mut returned, mut readers) = (None, Vec::new());
        for Inside { way, reader } in &behind {
            let Some(back) = self.at(way).output(reader.node, 0) else { continue };
            readers.extend(self.readers(way, back)?);
            if !self.at(way).is_output(back) {
                continue;
            }
            let producer = graph.producer(at.1).filter(|_| at.0 == here && *way == here);
            let Some(producer) = producer else {
                return Err(
                    "what it reads is none of a node beside it, and gets an output".to_owned()
                );
            };
            if returned.replace((back, producer)).is_some() {
                return Err("it is quantized to two outputs".to_owned());
            }
        }
        if let Some((back, (producer, slot))) = returned {
            // The output is what the node computes, as it was before.
            let direct = self.readers(&here, at.1).map_err(|_| "a body gives it on".to_owned())?;
            self.at_mut(&here).set_output(producer, slot, Some(back));
            at.1 = back;
            self.redirect(&direct, &at);
        }
        self.redirect(&readers, &at);
        self.gone.extend(behind.into_iter().map(|one| (one.way, one.reader.node)));
        self.gone.push((here, node));
        let output = returned.is_some();
        self.found.push(Found { at, constant, integers, encoding, readers, output });
        Ok(())
    }

    /// DequantizeLinear of stored integers.
    fn stored(&mut self, node: NodeId) -> Step {
        let graph = self.graph();
        let Some(stored) = graph.input(node, 0) else {
            return Err("it lacks an input".to_owned());
        };
        let Some(back) = graph.output(node, 0) else { return Ok(()) };
        // As it was: a first reader has made it float by now.
        let original = self.types().constant(stored).cloned();
        let at = self.origin(&self.way, stored);
        let held = |at: &Origin| self.at(&at.0).value(at.1).constant.is_some();
        let (Some(at), Some(tensor)) = (at.filter(held), original) else {
            // Behind a QuantizeLinear, which deals with it.
            return Ok(());
        };
        let readers = self.readers(&self.way, back)?;
        if self.is_scale(&readers) {
            return Ok(());
        }
        if graph.is_output(back) {
            return Err("a constant is an output".to_owned());
        }
        let encoding = self.encoding(node, tensor.dims().len(), Some(tensor.dims()))?;
        let integers = match tensor.to_i64s() {
            Some(integers) => integers,
            // The codes of an 8-bit float.
            None => tensor.bytes().iter().map(|&code| i64::from(code)).collect(),
        };
        let twin = self.twin(&at, tensor.dims(), &integers, &encoding);
        let (own, at) = (twin.is_none(), twin.unwrap_or(at));
        let known = self.found.iter().position(|found| found.at == at);
        let found = match known {
            Some(found) if self.found[found].encoding == encoding => found,
            Some(_) => return Err("its integers are read with two encodings".to_owned()),
            None => {
                if own {
                    self.make_float(&at, node, &integers, tensor.dims(), &encoding)?;
                }
                let integers = self.at(&at.0).value(at.1).name().to_owned();
                self.found.push(Found {
                    at: at.clone(),
                    constant: true,
                    integers,
                    encoding,
                    readers: Vec::new(),
                    output: false,
                });
                self.found.len() - 1
            }
        };
        self.redirect(&readers, &at);
        self.found[found].readers.extend(readers);
        self.gone.push((self.way.clone(), node));
        Ok(())
    }

    /// The constant that these integers were made from, where it is still there because something reads
    /// it in float.
    fn twin(
        &self,
        at: &Origin,
        dims: &[usize],
        integers: &[i64],
        encoding: &Encoding,
    ) -> Option<Origin> {
        let graph = self.at(&at.0);
        let float = graph.find(float_name(graph.value(at.1).name())?)?;
        let float = Some(float).filter(|&float| graph.initializer(float).is_some())?;
        let tensor = inside::types(self.types, &at.0)?.constant(float)?;
        let same = tensor.dims() == dims && element::is_quantizable(tensor.dtype());
        let floats = tensor.to_f32s().filter(|_| same)?;
        let stored = qdq::quantize(&floats, dims, encoding).ok()?;
        (stored == integers).then(|| (at.0.clone(), float))
    }

    /// Makes stored integers the floats that they stand for.
    fn make_float(
        &mut self,
        at: &Origin,
        node: NodeId,
        integers: &[i64],
        dims: &[usize],
        encoding: &Encoding,
    ) -> Step {
        let all = self.readers(&at.0, at.1)?.iter().all(|Inside { way, reader }| {
            self.at(way).node(reader.node).op_type == "DequantizeLinear"
                && reader.slot == Slot::Input(0)
        });
        if !all || self.at(&at.0).is_output(at.1) {
            return Err(READ_BY_OTHERS.to_owned());
        }
        let floats =
            qdq::dequantize(integers, dims, encoding).map_err(|error| error.to_string())?;
        let float = element::tensor(self.element(node), dims, &floats)
            .map_err(|error| error.to_string())?;
        let graph = self.at_mut(&at.0);
        graph.set_initializer(at.1, float);
        graph.value_mut(at.1).ty = None;
        Ok(())
    }

    /// Whether these read a scale of other DequantizeLinear, as with low-power blocks.
    fn is_scale(&self, readers: &[Inside]) -> bool {
        !readers.is_empty()
            && readers.iter().all(|Inside { way, reader }| {
                let op = &self.at(way).node(reader.node).op_type;
                reader.slot == Slot::Input(1)
                    && (op == "DequantizeLinear" || op == "QuantizeLinear")
            })
    }
}

/// How the float is called that integers of this name stand for.
fn float_name(integers: &str) -> Option<&str> {
    let mut suffixes = ["_quantized", "_q"].iter();
    suffixes.find_map(|suffix| integers.strip_suffix(suffix)).filter(|base| !base.is_empty())
}

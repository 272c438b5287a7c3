//! Whether two models say the same.
//!
//! Models are compared by what a file can hold: names, order, attributes, types, constants, notes.
//! Ids, and where a file keeps the bytes of a tensor ([`crate::Storage`]), do not count. Floats are
//! compared by their bits. Nodes are compared in the order in which they run.

use std::fmt::Debug;

use crate::{
    Attribute, AttributeValue, Content, Function, Graph, Model, NodeId, SparseTensor, Tensor,
    TensorNotes, Value, ValueId,
};

/// The first thing in which two models differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {left} is not {right}")]
pub struct Difference {
    /// Where, from the outside in: ``graph, node 3 `add`, attribute `axis` ``.
    pub place: String,
    /// What the first model has there, shortened if it is long.
    pub left: String,
    /// What the second model has there, shortened if it is long.
    pub right: String,
}

/// Where two models differ first, if they do.
///
/// ```
/// use marquetry_ir::{compare, text};
///
/// let model = text::parse("<ir_version: 8, opset_import: [\"\" : 17]> g (float[4] x) => (float[4] y) { y = Relu (x) }")?;
/// let mut other = model.clone();
/// other.producer_name = "me".to_owned();
/// assert_eq!(compare::difference(&model, &model), None);
/// assert_eq!(compare::difference(&model, &other).map(|found| found.place), Some("producer_name".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn difference(left: &Model, right: &Model) -> Option<Difference> {
    Comparison::default().model(left, right).err().map(|found| *found)
}

/// Where two graphs differ first, if they do.
pub fn graph_difference(left: &Graph, right: &Graph) -> Option<Difference> {
    Comparison::default().graph(left, right).err().map(|found| *found)
}

/// Where the values of two attributes differ first, if they do.
pub fn attribute_difference(left: &AttributeValue, right: &AttributeValue) -> Option<Difference> {
    Comparison::default().attribute_value(left, right).err().map(|found| *found)
}

/// The difference as an error, so that `?` stops at the first.
type Same = Result<(), Box<Difference>>;

/// Elements of a list where they are the same, and their number where they are not.
const SHOWN: usize = 120;

#[derive(Default)]
struct Comparison {
    path: Vec<String>,
}

impl Comparison {
    fn model(&mut self, left: &Model, right: &Model) -> Same {
        self.same("ir_version", &left.ir_version, &right.ir_version)?;
        self.same("producer_name", &left.producer_name, &right.producer_name)?;
        self.same("producer_version", &left.producer_version, &right.producer_version)?;
        self.same("domain", &left.domain, &right.domain)?;
        self.same("model_version", &left.model_version, &right.model_version)?;
        self.same("doc", &left.doc, &right.doc)?;
        self.same("metadata", &left.metadata, &right.metadata)?;
        self.same("training info", &left.opaque.training_info, &right.opaque.training_info)?;
        let devices = |model: &Model| model.opaque.device_configurations.clone();
        self.same("device configurations", &devices(left), &devices(right))?;
        self.at("graph".to_owned(), |here| here.graph(&left.graph, &right.graph))?;
        self.all("function", &left.functions, &right.functions, |here, left, right| {
            here.function(left, right)
        })
    }

    fn function(&mut self, left: &Function, right: &Function) -> Same {
        self.same("domain", &left.domain, &right.domain)?;
        self.same("name", &left.name, &right.name)?;
        self.same("overload", &left.overload, &right.overload)?;
        self.same("attributes", &left.attributes, &right.attributes)?;
        self.all("default", &left.defaults, &right.defaults, Self::attribute)?;
        self.same("doc", &left.doc, &right.doc)?;
        self.same("metadata", &left.metadata, &right.metadata)?;
        // The body of a function has no name, documentation and metadata of its own in a file.
        self.contents(&left.body, &right.body)
    }

    fn graph(&mut self, left: &Graph, right: &Graph) -> Same {
        self.same("name", &left.name, &right.name)?;
        self.same("doc", &left.doc, &right.doc)?;
        self.same("metadata", &left.metadata, &right.metadata)?;
        self.same("quantization annotations", &left.annotations, &right.annotations)?;
        self.contents(left, right)
    }

    fn contents(&mut self, left: &Graph, right: &Graph) -> Same {
        self.same("operator sets", &left.opsets.0, &right.opsets.0)?;
        let lists = [
            ("input", &left.inputs, &right.inputs),
            ("output", &left.outputs, &right.outputs),
            ("constant", &left.initializers, &right.initializers),
            ("declared value", &left.declared, &right.declared),
        ];
        for (what, a, b) in lists {
            self.all(what, a, b, |here, &a, &b| here.value(left.value(a), right.value(b)))?;
        }
        let order = |graph: &Graph| graph.order().unwrap_or_else(|_| graph.nodes().collect());
        self.all("node", &order(left), &order(right), |here, &a, &b| {
            here.node((left, a), (right, b))
        })
    }

    fn value(&mut self, left: &Value, right: &Value) -> Same {
        self.same("name", &left.name(), &right.name())?;
        self.at(format!("`{}`", left.name()), |here| {
            here.same("type", &left.ty, &right.ty)?;
            here.same("doc", &left.doc, &right.doc)?;
            here.same("metadata", &left.metadata, &right.metadata)?;
            here.option("constant", left.constant.as_ref(), right.constant.as_ref(), Self::tensor)?;
            here.option("constant", left.sparse.as_deref(), right.sparse.as_deref(), Self::sparse)
        })
    }

    fn node(&mut self, left: (&Graph, NodeId), right: (&Graph, NodeId)) -> Same {
        let (a, b) = (left.0.node(left.1), right.0.node(right.1));
        self.same("name", &a.name, &b.name)?;
        self.same("operator", &(&a.domain, &a.op_type), &(&b.domain, &b.op_type))?;
        self.same("overload", &a.overload, &b.overload)?;
        let slots = |graph: &Graph, slots: Vec<Option<ValueId>>| -> Vec<String> {
            let name = |value| graph.value(value).name().to_owned();
            slots.into_iter().map(|slot| slot.map(name).unwrap_or_default()).collect()
        };
        let inputs = |(graph, node): (&Graph, NodeId)| slots(graph, graph.inputs(node));
        let outputs = |(graph, node): (&Graph, NodeId)| slots(graph, graph.outputs(node));
        self.same("inputs", &inputs(left), &inputs(right))?;
        self.same("outputs", &outputs(left), &outputs(right))?;
        self.all("attribute", &a.attributes, &b.attributes, Self::attribute)?;
        self.same("doc", &a.doc, &b.doc)?;
        self.same("metadata", &a.metadata, &b.metadata)?;
        self.same("device configurations", &a.device_configurations, &b.device_configurations)
    }

    fn attribute(&mut self, left: &Attribute, right: &Attribute) -> Same {
        self.same("name", &left.name, &right.name)?;
        self.at(format!("`{}`", left.name), |here| {
            here.same("doc", &left.doc, &right.doc)?;
            here.attribute_value(&left.value, &right.value)
        })
    }

    fn attribute_value(&mut self, left: &AttributeValue, right: &AttributeValue) -> Same {
        use AttributeValue::*;
        let bits = |floats: &[f32]| floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>();
        match (left, right) {
            (Float(a), Float(b)) if a.to_bits() == b.to_bits() => Ok(()),
            (Floats(a), Floats(b)) if bits(a) == bits(b) => Ok(()),
            (Int(a), Int(b)) => self.same("value", a, b),
            (Ints(a), Ints(b)) => self.same("value", a, b),
            (String(a), String(b)) => self.same("value", a, b),
            (Strings(a), Strings(b)) => self.same("value", a, b),
            (Type(a), Type(b)) => self.same("value", a, b),
            (Types(a), Types(b)) => self.same("value", a, b),
            (Tensor(a), Tensor(b)) => self.tensor(a, b),
            (Tensors(a), Tensors(b)) => self.all("tensor", a, b, Self::tensor),
            (Sparse(a), Sparse(b)) => self.sparse(a, b),
            (Sparses(a), Sparses(b)) => self.all("sparse tensor", a, b, Self::sparse),
            (Graph(a), Graph(b)) => self.graph(a, b),
            (Graphs(a), Graphs(b)) => self.all("graph", a, b, Self::graph),
            (
                Reference { name: a, type_number: a_type },
                Reference { name: b, type_number: b_type },
            ) => self.same("reference", &(a, a_type), &(b, b_type)),
            _ => Err(self.differ("value", &format!("`{left}`"), &format!("`{right}`"))),
        }
    }

    fn sparse(&mut self, left: &SparseTensor, right: &SparseTensor) -> Same {
        self.same("shape", &left.dims, &right.dims)?;
        self.at("values".to_owned(), |here| here.tensor(&left.values, &right.values))?;
        self.at("indices".to_owned(), |here| here.tensor(&left.indices, &right.indices))
    }

    fn tensor(&mut self, left: &Tensor, right: &Tensor) -> Same {
        self.same("element type", &left.dtype(), &right.dtype())?;
        self.same("shape", &left.dims(), &right.dims())?;
        let notes = |tensor: &Tensor| -> TensorNotes {
            tensor.notes.as_deref().cloned().unwrap_or_default()
        };
        self.same("notes", &notes(left), &notes(right))?;
        if left.content() == right.content() {
            return Ok(());
        }
        let (place, left, right) = match (left.content(), right.content()) {
            (Content::Strings(a), Content::Strings(b)) => first_difference(a, b, 1),
            (Content::Bytes(a), Content::Bytes(b)) => {
                // Elements below a byte are shown by as many as fill whole bytes.
                let (bytes, per_item) = match left.dtype().bits() {
                    Some(2) => (1, 4),
                    Some(4) => (1, 2),
                    Some(6) => (3, 4),
                    bits => (bits.unwrap_or(8) as usize / 8, 1),
                };
                let (a, b): (Vec<_>, Vec<_>) =
                    (a.chunks(bytes).collect(), b.chunks(bytes).collect());
                first_difference(&a, &b, per_item)
            }
            _ => unreachable!("the element type decides the kind of content"),
        };
        Err(self.differ(&place, &left, &right))
    }

    fn option<T>(
        &mut self,
        what: &str,
        left: Option<&T>,
        right: Option<&T>,
        compare: impl FnOnce(&mut Self, &T, &T) -> Same,
    ) -> Same {
        match (left, right) {
            (Some(left), Some(right)) => {
                self.at(what.to_owned(), |here| compare(here, left, right))
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err(self.differ(what, "something", "nothing")),
            (None, Some(_)) => Err(self.differ(what, "nothing", "something")),
        }
    }

    fn all<T>(
        &mut self,
        what: &str,
        left: &[T],
        right: &[T],
        mut compare: impl FnMut(&mut Self, &T, &T) -> Same,
    ) -> Same {
        for (index, (left, right)) in left.iter().zip(right).enumerate() {
            self.at(format!("{what} {index}"), |here| compare(here, left, right))?;
        }
        self.same(&format!("number of {what}s"), &left.len(), &right.len())
    }

    fn at(&mut self, place: String, compare: impl FnOnce(&mut Self) -> Same) -> Same {
        self.path.push(place);
        let same = compare(self);
        self.path.pop();
        same
    }

    fn same<T: Debug + PartialEq>(&mut self, what: &str, left: &T, right: &T) -> Same {
        if left == right {
            return Ok(());
        }
        Err(self.differ(what, &format!("{left:?}"), &format!("{right:?}")))
    }

    fn differ(&self, what: &str, left: &str, right: &str) -> Box<Difference> {
        let mut path = self.path.clone();
        path.push(what.to_owned());
        Box::new(Difference { place: path.join(", "), left: shorten(left), right: shorten(right) })
    }
}

/// The first place where two lists differ, counted in elements of which `per_item` make an item.
fn first_difference<T: Debug + PartialEq>(
    left: &[T],
    right: &[T],
    per_item: usize,
) -> (String, String, String) {
    let at = left.iter().zip(right).position(|(a, b)| a != b).unwrap_or(0);
    let show =
        |list: &[T]| list.get(at).map_or("nothing".to_owned(), |item| format!("{item:02x?}"));
    (format!("element {}", at * per_item), show(left), show(right))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn differ(left: &str, right: &str) -> Option<String> {
        let model = |body: &str| {
            text::parse(&format!("<ir_version: 8, opset_import: [\"\" : 17]> {body}")).unwrap()
        };
        difference(&model(left), &model(right)).map(|difference| difference.to_string())
    }

    #[test]
    fn the_first_difference_is_named() {
        let graph = "g (float x) => (float y) <float w = {1}> { y = Add (x, w) }";
        assert_eq!(differ(graph, graph), None);
        let cases = [
            (
                "{1}",
                "{2}",
                "graph, constant 0, `w`, constant, element 0: [00, 00, 80, 3f] is not [00, 00, 00, 40]",
            ),
            (
                "Add (x, w)",
                "Add (w, x)",
                "graph, node 0, inputs: [\"x\", \"w\"] is not [\"w\", \"x\"]",
            ),
            ("Add (", "Add <a = 1> (", "graph, node 0, number of attributes: 0 is not 1"),
            ("float y", "double y", "graph, output 0, `y`, type: "),
        ];
        for (old, new, expected) in cases {
            let found = differ(graph, &graph.replace(old, new)).unwrap();
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn floats_are_compared_by_bits() {
        let graph =
            |x| format!("g () => (float y) {{ y = Constant <value_float: float = {x}> () }}");
        assert_eq!(differ(&graph("nan"), &graph("nan")), None);
        let found = differ(&graph("0"), &graph("-0")).unwrap();
        assert_eq!(found, "graph, node 0, attribute 0, `value_float`, value: `0` is not `-0`");
    }
}

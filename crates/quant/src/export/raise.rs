//! The opset that encodings need, and where readers are in a model that was brought there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::opset::Raised;
use marquetry_ir::{DType as ElementType, Model, Use, ValueId};

use super::opset;
use super::qdq::Lowering;
use crate::Encoding;
use crate::element::is_quantizable;
use crate::pass::PassError;
use crate::plan::{Plan, Quantizer};

/// Reading edges that are elsewhere in the raised model.
pub(super) type Moved = BTreeMap<Use, Option<Use>>;

/// What lowering a plan would do to the opset, before there are encodings; nothing where it may stay.
pub(crate) fn foreseen(model: &Model, types: &Types, plan: &Plan) -> Option<String> {
    let from = model.graph.opsets.version("").unwrap_or(1);
    let needed = plan.enabled().map(|(value, site)| {
        let element = types.dtype(value).filter(|&dtype| is_quantizable(dtype));
        opset::needed(site.spec.dtype, site.spec.granularity, element.unwrap_or(ElementType::Float))
    });
    let to = needed.max().filter(|&to| to > from)?;
    Some(match marquetry_ir::opset::raise(&mut model.clone(), to) {
        Ok(raised) => format!("the opset is raised {}", told(&raised, to)),
        Err(obstacle) => format!("opset {to} is needed: {obstacle}"),
    })
}

fn told(raised: &Raised, to: i64) -> String {
    let from = raised.from;
    let rewritten = raised.rewritten.iter();
    let rewritten: Vec<_> =
        rewritten.map(|(operator, count)| format!("{count} `{operator}`")).collect();
    match rewritten.is_empty() {
        true => format!("from {from} to {to}"),
        false => format!(
            "from {from} to {to}; written as that wants them, and computing the same: {}",
            rewritten.join(", ")
        ),
    }
}

impl Lowering<'_> {
    /// Raises the opset as far as encodings need it; where an operator has no equal there, operators of
    /// ONNX Runtime stand in for what the opset lacks. Gives the readers that moved.
    pub(super) fn raise_opset(&mut self, plan: &Plan) -> Result<Moved, PassError> {
        let from = self.model.graph.opsets.version("").unwrap_or(1);
        let encodings = plan.enabled().filter_map(|(value, site)| {
            let encoding = site.encoding.as_ref()?;
            let Encoding { dtype, granularity, .. } = *encoding;
            let needed = opset::needed(dtype, granularity, self.element(value));
            Some((value, encoding, needed))
        });
        let encodings: Vec<_> = encodings.filter(|(_, _, needed)| *needed > from).collect();
        let Some(to) = encodings.iter().map(|(_, _, needed)| *needed).max() else {
            return Ok(Moved::default());
        };
        match marquetry_ir::opset::raise(&mut self.model, to) {
            Ok(raised) => {
                self.notes.push(format!("opset raised {}", told(&raised, to)));
                Ok(raised.moved)
            }
            Err(obstacle) => {
                let can = |value, encoding| opset::contrib_can(encoding, self.element(value));
                if let Some((value, _, needed)) =
                    encodings.iter().find(|(value, encoding, _)| !can(*value, encoding))
                {
                    let (value, needed) = (self.name(*value), *needed);
                    let obstacle = Box::new(obstacle);
                    return Err(PassError::Opset { value, needed, obstacle });
                }
                self.graph().opsets.set(opset::CONTRIB, 1);
                self.notes.push(format!(
                    "opset {from} lacks what {} quantizers need, so they use the operators of `{}`: \
                     {obstacle}",
                    encodings.len(),
                    opset::CONTRIB
                ));
                Ok(Moved::default())
            }
        }
    }

    /// The site with its readers where they are now.
    pub(super) fn moved<'s>(
        &mut self,
        value: ValueId,
        site: &'s Quantizer,
        moved: &Moved,
    ) -> Cow<'s, Quantizer> {
        if !site.readers.iter().any(|reader| moved.contains_key(reader)) {
            return Cow::Borrowed(site);
        }
        let mut now = Quantizer { readers: Vec::new(), ..site.clone() };
        for reader in &site.readers {
            match moved.get(reader) {
                None => now.add_reader(*reader),
                Some(Some(reader)) => now.add_reader(*reader),
                Some(None) => self.notes.push(format!(
                    "`{}` stays in float for `{}`, which reads another constant in the opset that the \
                     model was raised to",
                    self.before.value(value).name(),
                    self.before.node(reader.node).op_type
                )),
            }
        }
        Cow::Owned(now)
    }
}

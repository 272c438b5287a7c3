//! A pass of one's own: what matched groups give keeps sixteen bits.
//!
//! In a pipeline it is written like the built-in ones, behind `Place`:
//! `WideOutputs(pattern: "LayerNorm")`.

use marquetry_matcher::PlaceId;
use marquetry_quant::pass::{Context, Fact, Pass, PassError, State, Summary};
use marquetry_quant::{DType, Reason, Registry};
use serde::{Deserialize, Serialize};

/// Gives every output of the groups of a pattern a type of its own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WideOutputs {
    /// The pattern whose groups are meant.
    pub pattern: String,
    /// The type of their outputs.
    #[serde(default = "wide")]
    pub dtype: DType,
}

fn wide() -> DType {
    DType::UInt16
}

impl Pass for WideOutputs {
    fn name(&self) -> &str {
        "WideOutputs"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Groups, Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let mut changed = 0;
        for group in state.groups.within(PlaceId::MAIN).filter(|it| it.pattern == self.pattern) {
            for output in &group.outputs {
                let Some(site) = state.plan.get_mut(*output) else { continue };
                site.spec.dtype = self.dtype;
                site.because.push(Reason::new(self.name(), format!("{} at its end", self.dtype)));
                changed += 1;
            }
        }
        Ok(Summary::new(self, format!("{changed} outputs of {} as {}", self.pattern, self.dtype)))
    }
}

/// The built-in passes, and this one.
pub fn registry() -> Registry {
    Registry::builtin().with::<WideOutputs>("WideOutputs")
}

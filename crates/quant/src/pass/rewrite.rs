//! Rewrite: replaces what rules find, before anything is quantized.

use marquetry_matcher::rewrite::Until;
use serde::{Deserialize, Serialize};

use super::{Context, Fact, Pass, PassError, State, Summary};

/// Replaces what rules of the pattern library find.
///
/// It changes nodes, so it stands before `Group`.
/// In RON: `Rewrite(rules: ["cleanup", "FoldConvBatchNorm"], until: Fixpoint)`; a rule is named, or a file
/// of rules; `std/cleanup` is the same file as `cleanup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The rules, or files of rules, by name.
    pub rules: Vec<String>,
    /// How often they are applied.
    #[serde(default)]
    pub until: RewriteUntil,
}

/// How often rules are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RewriteUntil {
    /// In one pass: what was built is not matched again.
    Once,
    /// Until nothing matches any more.
    #[default]
    Fixpoint,
}

impl Pass for Rewrite {
    fn name(&self) -> &str {
        "Rewrite"
    }

    fn requires(&self) -> &[Fact] {
        &[]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Groups, Fact::Sites]
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        if !state.groups.groups.is_empty() || state.plan.sites().next().is_some() {
            let message = "`Rewrite` changes nodes after groups were found".to_owned();
            return Err(PassError::Graph { message });
        }
        let until = match self.until {
            RewriteUntil::Once => Until::Once,
            RewriteUntil::Fixpoint => Until::Fixpoint,
        };
        let rewritten = cx.patterns.rewrite(&mut state.model, &self.rules, until);
        let rewritten = rewritten.map_err(|message| PassError::Rewrite { message })?;
        let mut summary = Summary::new(
            self,
            format!(
                "{} replaced, {} nodes became {}",
                rewritten.applied.len(),
                rewritten.nodes_before,
                rewritten.nodes_after
            ),
        );
        if !rewritten.refused.is_empty() {
            summary
                .notes
                .push(format!("matches that were not replaced: {}", rewritten.refused.len()));
        }
        let given_up = rewritten.exhausted.iter();
        summary.notes.extend(given_up.map(|name| format!("the search for `{name}` was given up")));
        Ok(summary)
    }
}

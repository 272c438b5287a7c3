//! Group: finds the groups that placement respects.

use marquetry_ir::Model;
use marquetry_matcher::Groups;
use marquetry_matcher::rewrite::{Rewritten, Until};
use serde::{Deserialize, Serialize};

use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::suggest;

/// Finds groups with a library of patterns.
///
/// The library belongs to the caller: this crate knows no pattern.
pub trait FindGroups: Sync {
    /// The groups of a model, by all patterns of the library or by those named.
    ///
    /// # Errors
    ///
    /// A message where a name is unknown or the library cannot be read.
    fn find_groups(&self, model: &Model, names: &[String]) -> Result<Groups, String>;

    /// Whether the library has a pattern of this name.
    fn knows(&self, pattern: &str) -> bool;

    /// The names of all patterns of the library, where it can tell them: what is misspelt is compared
    /// with them.
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Replaces what rules of the library find; a name is that of a rule or of a file of rules.
    ///
    /// # Errors
    ///
    /// A message where a name is unknown, where rewriting comes to no end, or where the library has no
    /// rules.
    fn rewrite(&self, _: &mut Model, rules: &[String], _: Until) -> Result<Rewritten, String> {
        Err(format!("this library has no rules, and `{}` are asked for", rules.join("`, `")))
    }
}

/// Finds the groups that placement respects.
///
/// In RON: `Group()` for all patterns of the library, `Group(patterns: ["LayerNorm"])` for some.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// The patterns to look for; all where none is named.
    pub patterns: Vec<String>,
}

impl Pass for Group {
    fn name(&self) -> &str {
        "Group"
    }

    fn requires(&self) -> &[Fact] {
        &[]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Groups]
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let found = cx.patterns.find_groups(&state.model, &self.patterns);
        state.groups = found.map_err(|message| PassError::Groups { message })?;
        let counts = state.groups.counts();
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let list: Vec<String> =
            counts.iter().map(|(pattern, count)| format!("{count} {pattern}")).collect();
        let mut summary = Summary::new(
            self,
            match total {
                0 => "no groups".to_owned(),
                _ => format!("{total} groups: {}", list.join(", ")),
            },
        );
        let rules = state.policy.everywhere().map_or(&[] as &[_], |rules| &rules.groups);
        let lacking =
            rules.iter().map(|rule| &rule.pattern).filter(|name| !cx.patterns.knows(name));
        let names = cx.patterns.names();
        summary.notes.extend(lacking.map(|name| {
            let policy = &state.policy.name;
            let near = suggest::near(name, &names)
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            format!(
                "`{policy}` takes matches of the pattern `{name}` for one operator, and no such \
                 pattern is loaded: they are quantized node by node{near}"
            )
        }));
        Ok(summary)
    }
}

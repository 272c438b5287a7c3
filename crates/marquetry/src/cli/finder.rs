//! What passes ask of the pattern library.

use std::path::Path;

use marquetry_engine::Native;
use marquetry_ir::Model;
use marquetry_matcher::rewrite::{RewriteOptions, Rewritten, Step, Until, Way, rewrite};
use marquetry_matcher::{Groups, Options};
use marquetry_pattern::Library;
use marquetry_pattern::core::Pattern;
use marquetry_quant::pass::FindGroups;

use super::failure::Failure;
use super::load;

/// Finds groups, and rewrites, with the patterns that were loaded.
pub(crate) struct Finder<'a>(pub(crate) &'a Library);

impl FindGroups for Finder<'_> {
    fn find_groups(&self, model: &Model, names: &[String]) -> Result<Groups, String> {
        let patterns = load::only(self.0.patterns(), names).map_err(|failure| failure.message)?;
        let types = marquetry_ir::infer::run(model);
        let matches = marquetry_matcher::find(model, &types, &patterns, &Options::default());
        Ok(marquetry_matcher::group(&matches, &patterns))
    }

    fn knows(&self, pattern: &str) -> bool {
        self.0.patterns().iter().any(|known| known.name == pattern)
    }

    fn names(&self) -> Vec<&str> {
        self.0.patterns().iter().map(|pattern| pattern.name.as_str()).collect()
    }

    fn rewrite(
        &self,
        model: &mut Model,
        rules: &[String],
        until: Until,
    ) -> Result<Rewritten, String> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        for name in rules {
            let found = self.rules(name);
            self.rule(name).map_err(|failure| match failure.hint {
                Some(hint) => format!("{}: {hint}", failure.message),
                None => failure.message,
            })?;
            for pattern in found {
                // A rule that is named and is in a file that is named is one.
                if !steps.iter().any(|step| std::ptr::eq(step.pattern, pattern)) {
                    steps.push(Step { pattern, way: Way::Rule });
                }
            }
        }
        let options = RewriteOptions { until, ..RewriteOptions::default() };
        rewrite(model, &steps, &Native, &options)
            .map_err(|error| format!("{error}: {}", error.hint()))
    }
}

impl Finder<'_> {
    /// The rule of this name, or all of the file of this name.
    fn rules(&self, name: &str) -> Vec<&Pattern> {
        let rules = self.0.rules();
        let named: Vec<&Pattern> = rules.iter().filter(|rule| rule.name == name).collect();
        if !named.is_empty() {
            return named;
        }
        let file = name.strip_prefix("std/").unwrap_or(name);
        rules.iter().filter(|rule| self.file(rule) == Some(file)).collect()
    }

    /// The file of a rule, without folder and extension.
    fn file(&self, rule: &Pattern) -> Option<&str> {
        Path::new(&self.0.sources().get(rule.span.source).path).file_stem()?.to_str()
    }

    /// Refuses the name of a pattern that there is not.
    pub(crate) fn pattern(&self, name: &str) -> Result<(), Failure> {
        if self.knows(name) {
            return Ok(());
        }
        Err(load::unknown("pattern", name, self.names().into_iter()))
    }

    /// Refuses the name of a rule, or of a file of rules, that there is not.
    pub(crate) fn rule(&self, name: &str) -> Result<(), Failure> {
        if !self.rules(name).is_empty() {
            return Ok(());
        }
        let rules = self.0.rules();
        let known = rules.iter().map(|rule| rule.name.as_str());
        let files = rules.iter().filter_map(|rule| self.file(rule));
        let mut known: Vec<&str> = known.chain(files).collect();
        known.dedup();
        Err(load::unknown("rule", name, known.into_iter()))
    }
}

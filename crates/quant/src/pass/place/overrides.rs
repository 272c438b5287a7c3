//! The last word of a policy about selected values.

use marquetry_ir::ValueId;

use super::everywhere::Placement;
use crate::policy::{Override, Select};

impl Placement<'_> {
    /// Lets overrides take effect, in order.
    pub(super) fn overrides(&mut self) {
        for Override { select, quantized, dtype, symmetric, range } in &self.rules.overrides {
            let reason = self.reason(format!("override of {select}"));
            for value in self.selected(select) {
                let Some(site) = self.plan.get_mut(value) else { continue };
                site.enabled = quantized.unwrap_or(site.enabled);
                site.spec.dtype = dtype.unwrap_or(site.spec.dtype);
                site.spec.symmetric = symmetric.unwrap_or(site.spec.symmetric);
                site.fixed_range = range.or(site.fixed_range);
                site.because.push(reason.clone());
            }
        }
    }

    fn selected(&self, select: &Select) -> Vec<ValueId> {
        match select {
            Select::Name(pattern) => {
                let named = |value: &ValueId| is_like(self.graph.value(*value).name(), pattern);
                self.graph.values().filter(named).collect()
            }
            Select::Op(op) => {
                let units = self.units.list.iter().filter(|unit| unit.operator == op);
                units.flat_map(|unit| unit.outputs.iter().copied()).collect()
            }
            Select::Param(kind) => {
                let params = self.units.list.iter().flat_map(|unit| &unit.params);
                params.filter(|param| param.kind == kind).map(|param| param.value).collect()
            }
        }
    }
}

/// Whether a name is like a pattern, in which `*` stands for any characters.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(is_like("/layer.0/y", "/layer.*/y"));
        assert!(is_like("y", "y") && is_like("y", "*") && is_like("aXbXb", "a*X*b"));
        assert!(!is_like("yy", "y") && !is_like("ab", "ab*b") && !is_like("x", "y*"));
    }
}

//! What there is to read about what stands at a place, as Markdown.

use std::fmt::Write;
use std::ops::Range;

use super::occurrences::{Access, Occurrence, Target};
use super::{Analysis, line_of, name_span, tokens, words};
use crate::ast::{Item, Param, SigAttr};
use crate::core::{Operator, OpsetRange};
use crate::description::Description;
use crate::names::Names;
use crate::resolve::Decl;

/// What there is to read about a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// The word.
    pub range: Range<usize>,
    /// Markdown.
    pub markdown: String,
}

impl Analysis<'_> {
    /// Returns what there is to read about what stands at a place.
    pub fn hover(&self, path: &str, offset: usize) -> Option<Hover> {
        let unit = self.unit(path)?;
        let text = self.text_of(unit);
        let targets = self.targets(path, offset);
        let parts: Vec<String> =
            targets.iter().filter_map(|target| self.about(unit, offset, target)).collect();
        if !parts.is_empty() {
            let all = self.occurrences(unit);
            let named = all.iter().rev().find(|one| {
                targets.contains(&one.target)
                    && one.span.range().start <= offset
                    && offset <= one.span.range().end
            });
            let range = named.map(|one| one.span.range());
            let range = range.or_else(|| tokens::word_at(text, offset))?;
            return Some(Hover { range, markdown: parts.join("\n\n---\n\n") });
        }
        let range = tokens::word_at(text, offset)?;
        let word = &text[range.clone()];
        let meaning = words::meaning(word)?;
        Some(Hover { range, markdown: format!("`{word}`: {meaning}") })
    }

    fn about(&self, unit: usize, offset: usize, target: &Target) -> Option<String> {
        match target {
            Target::Operator(operator) => {
                let opsets = self.opsets(unit, self.decl_around(unit, offset));
                let known = self.operators.describe(operator, &opsets)?;
                Some(about_operator(operator, &known, &opsets))
            }
            Target::Attribute(operator, name) => {
                let opsets = self.opsets(unit, self.decl_around(unit, offset));
                let known = self.operators.describe(operator, &opsets)?;
                let known = known.attributes.iter().find(|known| known.name == *name)?;
                let of = qualified(operator);
                Some(format!("{} (attribute of `{of}`)", attribute_line(known)))
            }
            Target::Decl(decl) => Some(self.about_item(*decl)),
            Target::Variable(decl, name) => Some(self.about_variable(*decl, name)),
            Target::Function(name) => {
                let (parameters, meaning) = words::function(name)?;
                Some(format!("```pat\n{name}({parameters})\n```\n{meaning}"))
            }
            Target::Dtype(name) => Some(format!("`{name}`: an element type of ONNX")),
            Target::File(used) => {
                let unit = self.unit(used)?;
                let text = self.text_of(unit);
                let head: Vec<&str> =
                    text.lines().take_while(|line| line.starts_with('#')).collect();
                let prose: Vec<&str> = head.iter().map(|line| bare_comment(line)).collect();
                Some(format!("`{used}`\n\n{}", prose.join("\n").trim_end()))
            }
        }
    }

    /// The item that an offset is in, as far as it parses.
    pub(super) fn decl_around(&self, unit: usize, offset: usize) -> Option<Decl> {
        let pieces = crate::parse::pieces(self.text_of(unit));
        let piece =
            pieces.into_iter().find(|piece| piece.start <= offset && offset <= piece.end)?;
        let items = &self.units[unit].file.items;
        let item = items.iter().position(|item| piece.contains(&name_span(item).range().start))?;
        Some(self.decl(unit, item))
    }

    fn about_item(&self, decl: Decl) -> String {
        let mut text = format!("```pat\n{}\n```", self.signature(decl));
        let comment = self.comment(decl);
        if !comment.is_empty() {
            write!(text, "\n{comment}").expect("a string takes any text");
        }
        let path = self.place(decl.span).path;
        write!(text, "\n\n*{path}:{}*", line_of(self.text_of(decl.unit), decl.span.range().start))
            .expect("a string takes any text");
        text
    }

    /// The header of an item; a short definition or rule as a whole, if it is one line.
    pub(super) fn signature(&self, decl: Decl) -> String {
        let whole = || {
            let pieces = crate::parse::pieces(self.text_of(decl.unit));
            let start = decl.span.range().start;
            let piece = pieces.into_iter().find(|piece| piece.contains(&start));
            piece.map_or("", |piece| self.text_of(decl.unit)[piece].trim_end())
        };
        match self.item(decl) {
            Item::Def(def) => match &def.body {
                crate::ast::DefBody::Short(_) => whole().to_owned(),
                crate::ast::DefBody::Block(results, _) => {
                    let head = self.header(&def.attributes, &def.params, results);
                    format!("def {}{head}", def.name.text)
                }
            },
            Item::Pattern(pattern) => {
                let signature = &pattern.signature;
                let family = pattern.meta.family.as_ref();
                let family = family.map_or(String::new(), |family| format!(" in {}", family.text));
                let head =
                    self.header(&signature.attributes, &signature.params, &signature.results);
                format!("pattern {}{family} {head}", pattern.name.text)
            }
            Item::Rule(_) | Item::Ops(_) | Item::Use(_) | Item::Opset(_) | Item::Test(_) => {
                whole().to_owned()
            }
        }
    }

    fn header(&self, attributes: &[SigAttr], params: &[Param], results: &[Param]) -> String {
        let attribute = |attribute: &SigAttr| {
            let rest = if attribute.rest { "..." } else { "" };
            let default = attribute.default.as_ref();
            let default =
                default.map_or(String::new(), |e| format!(" = {}", self.sources.text(e.span)));
            format!("{}{rest}{default}", attribute.name.text)
        };
        let param = |param: &Param| {
            let constant = if param.constant { "const " } else { "" };
            let value_type = param.value_type.as_ref();
            let value_type = value_type
                .map_or(String::new(), |e| format!("{} ", self.sources.text(e.span).trim_end()));
            let mark = match (param.list, param.optional) {
                (true, _) => "...",
                (_, true) => "?",
                _ => "",
            };
            format!("{constant}{value_type}{}{mark}", param.name.text)
        };
        let attributes: Vec<_> = attributes.iter().map(attribute).collect();
        let params: Vec<_> = params.iter().map(param).collect();
        let results: Vec<_> = results.iter().map(param).collect();
        let attributes = match attributes.is_empty() {
            true => String::new(),
            false => format!("<{}> ", attributes.join(", ")),
        };
        let results = match results.is_empty() {
            true => String::new(),
            false => format!(" => ({})", results.join(", ")),
        };
        format!("{attributes}({}){results}", params.join(", "))
    }

    /// The comment lines directly above an item, without their marks.
    fn comment(&self, decl: Decl) -> String {
        let text = self.text_of(decl.unit);
        let start = text[..decl.span.range().start].rfind('\n').map_or(0, |at| at + 1);
        let above =
            text[..start].lines().rev().take_while(|line| line.trim_start().starts_with('#'));
        let mut lines: Vec<&str> = above.map(bare_comment).collect();
        lines.reverse();
        lines.join("\n").trim().to_owned()
    }

    fn about_variable(&self, decl: Decl, name: &str) -> String {
        let item = self.item(decl);
        let target = Target::Variable(decl, name.to_owned());
        let all = self.occurrences(decl.unit);
        let kind = match kind_of(&names_of(item), name) {
            // Where values stand, it is the number in one.
            "attribute"
                if all.iter().any(|one| one.target == target && one.access == Access::Operand) =>
            {
                "number"
            }
            kind => kind,
        };
        let (role, param) = role_of(item, name);
        let mut text = format!("```pat\n{name}: {kind}\n```");
        let mut facts: Vec<String> = Vec::new();
        let of = match item {
            Item::Def(def) => &def.name.text,
            Item::Pattern(pattern) => &pattern.name.text,
            Item::Rule(rule) => &rule.name.text,
            _ => "",
        };
        facts.extend(role.map(|role| format!("{role} of `{of}`")));
        if let Some(param) = param {
            facts.extend(param.list.then(|| "a list".to_owned()));
            facts.extend(param.optional.then(|| "may be absent".to_owned()));
            facts.extend(param.constant.then(|| "a compile-time constant".to_owned()));
            let value_type = param.value_type.as_ref();
            facts.extend(value_type.map(|e| format!("`{}`", self.sources.text(e.span).trim_end())));
        }
        if !facts.is_empty() {
            write!(text, "\n{}", facts.join(", ")).expect("a string takes any text");
        }
        for line in self.bound_at(decl, name) {
            write!(text, "\n\n{line}").expect("a string takes any text");
        }
        text
    }

    /// Where the body binds a variable: its equations, or else where it is met first.
    fn bound_at(&self, decl: Decl, name: &str) -> Vec<String> {
        let source = self.text_of(decl.unit);
        let target = Target::Variable(decl, name.to_owned());
        let all = self.occurrences(decl.unit);
        let head = self.header_end(decl);
        let inside: Vec<&Occurrence> = all
            .iter()
            .filter(|one| one.target == target && one.span.range().start >= head)
            .collect();
        let declared: Vec<&&Occurrence> =
            inside.iter().filter(|one| one.access == Access::Declare).collect();
        let places = if declared.is_empty() { inside.iter().take(1).collect() } else { declared };
        let mut lines: Vec<String> = places
            .into_iter()
            .map(|one| {
                let at = one.span.range().start;
                let line = source.lines().nth(line_of(source, at) - 1).unwrap_or("").trim();
                format!("bound on line {}: `{line}`", line_of(source, at))
            })
            .collect();
        lines.dedup();
        lines
    }

    /// Where the body of an item begins.
    fn header_end(&self, decl: Decl) -> usize {
        use crate::ast::{DefBody, RuleKind};
        let span = match self.item(decl) {
            Item::Def(def) => match &def.body {
                DefBody::Short(expr) => expr.span,
                DefBody::Block(_, body) => body.span,
            },
            Item::Pattern(pattern) => pattern.body.span,
            Item::Rule(rule) => match &rule.kind {
                RuleKind::Block(_, body, _) => body.span,
                RuleKind::Short { left, .. } => left.span,
            },
            _ => decl.span,
        };
        span.range().start
    }
}

/// The names of an item, as the checker collects them.
pub(super) fn names_of(item: &Item) -> Names {
    use crate::ast::{DefBody, RuleKind};
    let mut names = Names::default();
    match item {
        Item::Def(def) => {
            names.attributes(&def.attributes);
            names.params(&def.params);
            match &def.body {
                DefBody::Short(expr) => {
                    names.declare_inline(expr);
                    names.expr(expr);
                }
                DefBody::Block(results, body) => {
                    names.params(results);
                    names.declare(body);
                    names.body(body);
                }
            }
        }
        Item::Pattern(pattern) => {
            names.attributes(&pattern.signature.attributes);
            names.params(&pattern.signature.params);
            names.params(&pattern.signature.results);
            names.declare(&pattern.body);
            names.body(&pattern.body);
        }
        Item::Rule(rule) => match &rule.kind {
            RuleKind::Block(signature, body, _) => {
                names.attributes(&signature.attributes);
                names.params(&signature.params);
                names.params(&signature.results);
                names.declare(body);
                names.body(body);
            }
            RuleKind::Short { left, guards, .. } => {
                names.declare_inline(left);
                names.expr(left);
                let conditions = guards.iter().flat_map(|guard| &guard.conditions);
                conditions.for_each(|condition| names.guard(condition, false));
            }
        },
        Item::Use(_) | Item::Opset(_) | Item::Ops(_) | Item::Test(_) => {}
    }
    names
}

/// What a variable stands for.
pub(super) fn kind_of(names: &Names, name: &str) -> &'static str {
    if names.operators.contains(name) {
        "operator"
    } else if names.rests.contains(name) {
        "attributes"
    } else if names.declared.contains_key(name) {
        "value"
    } else if names.dims.contains(name) {
        "dimension"
    } else if names.dtypes.contains(name) {
        "element type"
    } else if names.computed.contains(name) && !names.attributes.contains(name) {
        "number"
    } else if names.attributes.contains(name) {
        "attribute"
    } else {
        "value"
    }
}

/// What a variable is in the header of its item.
fn role_of<'i>(item: &'i Item, name: &str) -> (Option<&'static str>, Option<&'i Param>) {
    let (attributes, params, results): (&[SigAttr], &[Param], &[Param]) = match item {
        Item::Def(def) => match &def.body {
            crate::ast::DefBody::Block(results, _) => (&def.attributes, &def.params, results),
            crate::ast::DefBody::Short(_) => (&def.attributes, &def.params, &[]),
        },
        Item::Pattern(pattern) => {
            let signature = &pattern.signature;
            (&signature.attributes, &signature.params, &signature.results)
        }
        Item::Rule(rule) => match &rule.kind {
            crate::ast::RuleKind::Block(signature, ..) => {
                (&signature.attributes, &signature.params, &signature.results)
            }
            crate::ast::RuleKind::Short { .. } => (&[], &[], &[]),
        },
        _ => (&[], &[], &[]),
    };
    let named = |params: &'i [Param]| params.iter().find(|param| param.name.text == name);
    if let Some(param) = named(params) {
        return (Some("input"), Some(param));
    }
    if let Some(param) = named(results) {
        return (Some("output"), Some(param));
    }
    let attribute = attributes.iter().any(|attribute| attribute.name.text == name);
    (attribute.then_some("attribute"), None)
}

fn about_operator(operator: &Operator, known: &Description, opsets: &[OpsetRange]) -> String {
    let shown = |formals: &[crate::description::Formal]| {
        formals.iter().map(|formal| formal.written()).collect::<Vec<_>>().join(", ")
    };
    let of = qualified(operator);
    let mut text =
        format!("```pat\n{of}({}) => ({})\n```\n", shown(&known.inputs), shown(&known.outputs));
    let domain = match operator.domain.as_str() {
        "" => "an operator of the standard",
        domain => &format!("an operator of `{domain}`"),
    };
    let versions: Vec<String> = known.versions.iter().map(u32::to_string).collect();
    let plural = if versions.len() == 1 { "version" } else { "versions" };
    write!(text, "{domain}, {plural} {}", versions.join(", ")).expect("a string takes any text");
    for range in opsets.iter().filter(|range| range.domain == operator.domain) {
        let max = range.max.map_or(String::new(), |max| max.to_string());
        write!(text, " (opset {}..{max} here)", range.min).expect("a string takes any text");
    }
    if !known.facts.is_empty() {
        write!(text, "; {}", known.facts.join(", ")).expect("a string takes any text");
    }
    for (title, formals) in [("inputs", &known.inputs), ("outputs", &known.outputs)] {
        if !formals.is_empty() {
            write!(text, "\n\n**{title}**\n").expect("a string takes any text");
        }
        for formal in formals {
            write!(text, "\n- `{}`: {}", formal.written(), formal.types)
                .expect("a string takes any text");
        }
    }
    if !known.attributes.is_empty() {
        text.push_str("\n\n**attributes**\n");
    }
    for attribute in &known.attributes {
        write!(text, "\n- {}", attribute_line(attribute)).expect("a string takes any text");
    }
    text
}

/// `` `axis: int = 1`, required ``.
pub(super) fn attribute_line(attribute: &crate::description::Attribute) -> String {
    let default = match &attribute.default {
        Some(default) => format!(" = {default}"),
        None => String::new(),
    };
    let mut text = format!("`{}: {}{default}`", attribute.name, attribute.kind);
    if attribute.required {
        text.push_str(", required");
    }
    if let Some(note) = &attribute.note {
        write!(text, ", {note}").expect("a string takes any text");
    }
    text
}

pub(super) fn qualified(operator: &Operator) -> String {
    match operator.domain.as_str() {
        "" => operator.name.clone(),
        domain => format!("{domain}.{}", operator.name),
    }
}

fn bare_comment(line: &str) -> &str {
    let bare = line.trim_start().trim_start_matches('#');
    bare.strip_prefix(' ').unwrap_or(bare).trim_end()
}

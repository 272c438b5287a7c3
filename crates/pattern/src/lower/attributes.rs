//! What a call of an operator requires of attributes.

use super::{Frame, Lowerer};
use crate::ast::{self, Attr, AttrValue, Guard, GuardKind, Name};
use crate::core::{Attribute, AttributePattern, GraphPattern, Kind, Operator, Others, Role, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::is_dtype;
use crate::gexpr::{GExpr, GExprKind};
use crate::operators::{AttributeKind, Signature};
use crate::similar::closest;

impl<'a> Lowerer<'a> {
    pub(super) fn attributes(
        &mut self,
        frame: &mut Frame<'a>,
        attributes: &'a [Attr],
        signature: Option<&Signature>,
        operators: &[Operator],
    ) -> (Vec<Attribute>, Others) {
        let mut others = Others::Default;
        let mut named: Vec<Attribute> = Vec::new();
        for attribute in attributes {
            match attribute {
                Attr::Open(_) => others = Others::Any,
                Attr::Rest(name) => {
                    others = Others::Rest(self.lookup(frame, &name.text, name.span));
                }
                Attr::Named(name, values) => {
                    let pattern = match &values[..] {
                        [] => match frame.contents.get(&name.text) {
                            Some(given) => given.clone(),
                            None => {
                                AttributePattern::Bind(self.lookup(frame, &name.text, name.span))
                            }
                        },
                        [value] => self.attribute(frame, value),
                        values => {
                            let values = values.iter().map(|value| self.attribute(frame, value));
                            AttributePattern::OneOf(values.collect())
                        }
                    };
                    if let Some(first) = named.iter().find(|other| other.name == name.text) {
                        let fact = format!("`{}` is given a second time", name.text);
                        let error = Diagnostic::new(Code::DuplicateName, name.span, fact);
                        self.errors.push(error.label(first.span, "first here"));
                    }
                    self.check_attribute(name, &pattern, values, signature, operators);
                    named.push(Attribute { name: name.text.clone(), pattern, span: name.span });
                }
            }
        }
        (named, others)
    }

    fn check_attribute(
        &mut self,
        name: &Name,
        pattern: &AttributePattern,
        values: &[AttrValue],
        signature: Option<&Signature>,
        operators: &[Operator],
    ) {
        let (Some(signature), [operator, ..]) = (signature, operators) else { return };
        let Some(facts) = signature.attributes.iter().find(|facts| facts.name == name.text) else {
            let fact = format!("`{}` has no attribute `{}`", operator.name, name.text);
            let known = signature.attributes.iter().map(|facts| facts.name.as_str());
            let help =
                closest(&name.text, known.clone()).map(|name| format!("did you mean `{name}`?"));
            let help = help.or_else(|| {
                let known: Vec<&str> = known.collect();
                (!known.is_empty()).then(|| format!("it has {}", known.join(", ")))
            });
            self.error(Diagnostic::new(Code::AttributeMismatch, name.span, fact).help_maybe(help));
            return;
        };
        let found = match pattern {
            AttributePattern::List(_) => Some("a list"),
            AttributePattern::Value(value) => match value.kind {
                GExprKind::Int(_) => Some("an int"),
                GExprKind::Float(_) => Some("a float"),
                GExprKind::String(_) => Some("a string"),
                GExprKind::List(_) => Some("a list"),
                _ => None,
            },
            _ => None,
        };
        let (declared, fits) = match facts.kind {
            AttributeKind::Int => ("int", matches!(found, None | Some("an int"))),
            AttributeKind::Float => ("float", matches!(found, None | Some("an int" | "a float"))),
            AttributeKind::String => ("string", matches!(found, None | Some("a string"))),
            AttributeKind::Ints => ("ints", matches!(found, None | Some("a list"))),
            AttributeKind::Floats => ("floats", matches!(found, None | Some("a list"))),
            AttributeKind::Strings => ("strings", matches!(found, None | Some("a list"))),
            AttributeKind::Other => return,
        };
        if let (false, Some(found)) = (fits, found) {
            let place = match values {
                [AttrValue::Expr(guard)] => guard.span,
                _ => name.span,
            };
            let error = Diagnostic::new(Code::AttributeMismatch, place, format!("this is {found}"));
            let label = format!("`{}` declares `{}`: {declared}", operator.name, name.text);
            let help = match declared.ends_with('s') {
                true => format!(
                    "write a list: `<{} = [1, 0]>`, or bind it: `<{} = p>`",
                    name.text, name.text
                ),
                false => format!("write one {declared}, or bind it: `<{} = p>`", name.text),
            };
            self.error(error.label(name.span, label).help(help));
        }
    }

    pub(super) fn attribute(
        &mut self,
        frame: &mut Frame<'a>,
        value: &'a AttrValue,
    ) -> AttributePattern {
        match value {
            AttrValue::Any => AttributePattern::Any,
            AttrValue::Expr(guard) => self.attribute_expr(frame, guard),
            AttrValue::Tensor(tensor) => match self.tensor(tensor) {
                Some(content) => {
                    let kind = GExprKind::Tensor(content.into());
                    AttributePattern::Value(GExpr { kind, span: tensor.span })
                }
                None => AttributePattern::Any,
            },
            AttrValue::Graph(params, results, body) => {
                let hidden = frame.vars.clone();
                let mut inner = ast_names(params, results, body);
                inner.retain(|name| !hidden.get(name).is_some_and(|var| self.is_input(*var)));
                for name in &inner {
                    frame.vars.remove(name);
                }
                let scope = self.new_scope(body.span, Some(frame.scope));
                let outer = std::mem::replace(&mut frame.scope, scope);
                let inputs =
                    params.iter().map(|param| self.param(frame, param, Role::Local)).collect();
                self.body(frame, body);
                let outputs = results
                    .iter()
                    .map(|result| self.lookup(frame, &result.name.text, result.name.span));
                let outputs = outputs.collect();
                frame.scope = outer;
                for name in inner {
                    match hidden.get(&name) {
                        Some(var) => frame.vars.insert(name, *var),
                        None => frame.vars.remove(&name),
                    };
                }
                AttributePattern::Graph(GraphPattern { inputs, outputs, scope })
            }
        }
    }

    fn is_input(&self, var: VarId) -> bool {
        self.pattern.inputs.contains(&var)
    }

    /// Names alone, and as elements of a list, bind; everything else is computed and compared.
    fn attribute_expr(&mut self, frame: &mut Frame<'a>, guard: &'a Guard) -> AttributePattern {
        match &guard.kind {
            GuardKind::Name(name) if frame.contents.contains_key(name) => {
                frame.contents[name].clone()
            }
            GuardKind::Name(name)
                if frame.names.knows(name) && !is_dtype(name) || frame.vars.contains_key(name) =>
            {
                let var = self.lookup(frame, name, guard.span);
                match self.pattern.var(var).kind {
                    Kind::Attribute => AttributePattern::Bind(var),
                    Kind::Dim | Kind::Dtype => AttributePattern::Value(self.guard(frame, guard)),
                    _ => {
                        let fact = format!(
                            "`{name}` is a value of the graph; an attribute is needed here"
                        );
                        let error = Diagnostic::new(Code::AmbiguousKind, guard.span, fact);
                        let help = format!(
                            "`<{name} = p>`: the attribute is on the left, a variable on the right"
                        );
                        self.error(error.help(help));
                        AttributePattern::Any
                    }
                }
            }
            GuardKind::List(items) if items.iter().any(binds) => {
                let items = items.iter().map(|item| self.attribute_expr(frame, item));
                AttributePattern::List(items.collect())
            }
            _ => AttributePattern::Value(self.guard(frame, guard)),
        }
    }
}

pub(super) fn binds(guard: &Guard) -> bool {
    match &guard.kind {
        GuardKind::Name(name) => !is_dtype(name),
        GuardKind::List(items) => items.iter().any(binds),
        _ => false,
    }
}

/// The names that a nested graph declares.
fn ast_names(params: &[ast::Param], results: &[ast::Param], body: &ast::Body) -> Vec<String> {
    let mut names = crate::names::Names::default();
    names.params(params);
    names.params(results);
    names.declare(body);
    names.declared.into_keys().collect()
}

//! Graphs and their nodes, read.

use super::error::{ParseError, Problem};
use super::lexer::Token;
use super::note::Notes;
use super::parser::Parser;
use super::tensor::TENSOR_NOTES;
use crate::{Graph, GraphError, Kind, Node, Opsets, Type, ValueId};

/// A value where it is declared.
pub(super) struct Declaration {
    notes: Notes,
    ty: Option<Type>,
    ty_at: usize,
    name: String,
    at: usize,
}

impl Parser<'_> {
    /// A graph whose notes have been read. Which values its bodies capture is settled at the end, by
    /// [`Graph::resolve_captures`].
    pub(super) fn graph(&mut self, opsets: &Opsets, notes: Notes) -> Result<Graph, ParseError> {
        self.allow(&notes, "a graph", &["doc", "metadata", "quantization"])?;
        let name = match self.token() {
            Token::Punct('(') | Token::Arrow => String::new(),
            _ => self.name("a graph: its name, then `(` and the inputs")?,
        };
        let mut graph = Graph::new(name, opsets.clone());
        graph.doc = notes.doc;
        graph.metadata = notes.metadata;
        graph.annotations = notes.quantization;
        self.signature(&mut graph)?;
        self.constants_and_types(&mut graph)?;
        self.nodes(&mut graph)?;
        Ok(graph)
    }

    /// `(inputs) => (outputs)`.
    pub(super) fn signature(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        if self.eat('(')? {
            self.items(')', "`,` or `)`", |parser| parser.input(graph))?;
        }
        self.expect_arrow()?;
        self.expect('(', "`(` and the outputs")?;
        self.items(')', "`,` or `)`", |parser| {
            let declaration = parser.declaration()?;
            let output = graph.value_named(&declaration.name);
            parser.declare(graph, output, declaration)?;
            graph.outputs.push(output);
            Ok(())
        })
    }

    fn input(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        let mut declaration = self.declaration()?;
        let (name, at) = (declaration.name.clone(), declaration.at);
        let input = graph.add_input(&name, None);
        let input = input.map_err(|error| self.graph_error(at, error))?;
        if self.eat('=')? || self.is_content() {
            let (ty, ty_at) = (declaration.ty.clone(), declaration.ty_at);
            let ty = ty.ok_or_else(|| self.error_at(at, Problem::NotATensor))?;
            // Notes here are about the input; those about its default stand with the constants.
            let tensor = self.content(&ty, ty_at, &name, Notes::default())?;
            graph.set_initializer(input, tensor);
        }
        declaration.ty_at = at;
        self.declare(graph, input, declaration)
    }

    /// `<constants and types>`, if it is there.
    pub(super) fn constants_and_types(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        if !self.eat('<')? {
            return Ok(());
        }
        self.items('>', "`,` or `>`", |parser| {
            let declaration = parser.declaration()?;
            let value = graph.value_named(&declaration.name);
            if parser.eat('=')? || parser.is_content() {
                return parser.constant(graph, value, declaration);
            }
            graph.declared.push(value);
            parser.declare(graph, value, declaration)
        })
    }

    fn constant(
        &mut self,
        graph: &mut Graph,
        value: ValueId,
        declaration: Declaration,
    ) -> Result<(), ParseError> {
        let Declaration { notes, ty, ty_at, name, at } = declaration;
        let entry = graph.value(value);
        if entry.constant.is_some() || entry.sparse.is_some() {
            return Err(self.error_at(at, Problem::Redefined { name }));
        }
        let ty = ty.ok_or_else(|| self.error_at(at, Problem::NotATensor))?;
        if let Type::Sparse(sparse) = &ty {
            self.allow(&notes, "a sparse tensor", &[])?;
            let sparse = self.sparse(sparse, ty_at, &name)?;
            let entry = graph.value_mut(value);
            entry.sparse = Some(Box::new(sparse));
            if entry.kind != Kind::Input {
                entry.kind = Kind::Initializer;
            }
            graph.initializers.push(value);
            return Ok(());
        }
        self.allow(&notes, "a tensor", TENSOR_NOTES)?;
        let tensor = self.content(&ty, ty_at, &name, notes)?;
        graph.set_initializer(value, tensor);
        Ok(())
    }

    /// A name, perhaps with a type before it.
    fn declaration(&mut self) -> Result<Declaration, ParseError> {
        let mut notes = self.notes()?;
        let type_notes = notes.split_type();
        let ty_at = self.at();
        let ty = if self.is_type_of_value() {
            Some(self.ty(type_notes)?)
        } else {
            if let Token::Word(word) = self.token()
                && matches!(
                    self.second(),
                    Token::Word(_) | Token::String(_) | Token::Punct('[' | '(')
                )
            {
                return Err(self.error(Problem::UnknownType { name: word.to_owned() }));
            }
            self.allow(&type_notes, "a value without a type", &[])?;
            None
        };
        let at = self.at();
        let name = match ty {
            Some(_) => self.name("the name of the value")?,
            None => self.name("a value: a type and a name")?,
        };
        if name.is_empty() {
            let found = "an empty one".to_owned();
            return Err(self.error_at(at, Problem::Unexpected { expected: "a name", found }));
        }
        Ok(Declaration { notes, ty, ty_at, name, at })
    }

    /// Notes what a declaration says about a value.
    fn declare(
        &self,
        graph: &mut Graph,
        value: ValueId,
        declaration: Declaration,
    ) -> Result<(), ParseError> {
        let Declaration { notes, ty, name, at, .. } = declaration;
        self.allow(&notes, "a value", &["doc", "metadata"])?;
        let entry = graph.value_mut(value);
        let agrees = (entry.ty.is_none() || ty.is_none() || entry.ty == ty)
            && (entry.doc.is_empty() || notes.doc.is_empty() || entry.doc == notes.doc)
            && (entry.metadata.is_empty()
                || notes.metadata.is_empty()
                || entry.metadata == notes.metadata);
        if !agrees {
            return Err(self.error_at(at, Problem::Redeclared { name }));
        }
        entry.ty = entry.ty.take().or(ty);
        if !notes.doc.is_empty() {
            entry.doc = notes.doc;
        }
        if !notes.metadata.is_empty() {
            entry.metadata = notes.metadata;
        }
        Ok(())
    }

    /// `{ nodes }`.
    pub(super) fn nodes(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        self.expect('{', "`{` and the nodes")?;
        while !self.eat('}')? {
            self.node(graph)?;
        }
        Ok(())
    }

    /// `[name] outputs = domain.Op:overload <attributes> (inputs)`.
    fn node(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        const EXPECTED: &str = "a node such as `y = Relu (x)`, or `}`";
        let notes = self.notes()?;
        self.allow(&notes, "a node", &["doc", "metadata", "device_configurations"])?;
        let at = self.at();
        let starts = matches!(
            self.token(),
            Token::Word(_) | Token::String(_) | Token::Punct('[' | '=' | ',')
        );
        if !starts {
            return Err(self.unexpected(EXPECTED));
        }
        let mut node = Node::default();
        node.doc = notes.doc;
        node.metadata = notes.metadata;
        node.device_configurations = notes.device_configurations;
        if self.eat('[')? {
            if !self.is(']') {
                node.name = self.name("the name of the node")?;
            }
            self.expect(']', "`]`")?;
        }
        let outputs = self.slots(graph, "the name of an output")?;
        self.expect('=', "`,` and another output, or `=` and an operator")?;
        // The last part is the operator, the rest its domain.
        node.op_type = self.name("an operator")?;
        while self.eat('.')? {
            let part = std::mem::replace(&mut node.op_type, self.name("a name after the dot")?);
            node.domain = if node.domain.is_empty() { part } else { node.domain + "." + &part };
        }
        if self.eat(':')? {
            node.overload = self.name("the overload of the function")?;
        }
        node.attributes = self.attributes(&graph.opsets)?;
        self.expect('(', "`<` and attributes, or `(` and inputs")?;
        let inputs = self.slots(graph, "the name of an input")?;
        self.expect(')', "`,` or `)`")?;
        if node.attributes.is_empty() {
            node.attributes = self.attributes(&graph.opsets)?;
        }
        graph.add_node(node, &inputs, &outputs).map_err(|error| self.graph_error(at, error))?;
        Ok(())
    }

    /// Names separated by commas. An absent one is `""`, or nothing before a comma; a comma at the end
    /// adds none.
    fn slots(
        &mut self,
        graph: &mut Graph,
        expected: &'static str,
    ) -> Result<Vec<Option<ValueId>>, ParseError> {
        let mut slots = Vec::new();
        loop {
            match self.token() {
                Token::Word(_) | Token::String(_) => {
                    let name = self.name(expected)?;
                    slots.push((!name.is_empty()).then(|| graph.value_named(&name)));
                }
                Token::Punct(',') => slots.push(None),
                _ => return Ok(slots),
            }
            if !self.eat(',')? {
                return Ok(slots);
            }
        }
    }

    fn graph_error(&self, at: usize, error: GraphError) -> ParseError {
        let (GraphError::NameTaken { name } | GraphError::Redefined { name }) = error;
        self.error_at(at, Problem::Redefined { name })
    }
}

//! Models and functions, read.

use super::error::{ParseError, Problem};
use super::lexer::Token;
use super::parser::Parser;
use crate::{Function, Graph, Model, Opaque};

impl Parser<'_> {
    /// A model, up to the end of the text.
    pub(super) fn model(&mut self) -> Result<Model, ParseError> {
        let mut model = Model::new(0, Graph::default());
        let mut notes = self.notes()?;
        if self.is('<') {
            self.allow(&notes, "a model", &["training_info", "device_configurations"])?;
            model.opaque = Opaque {
                training_info: notes.training_info,
                device_configurations: notes.device_configurations,
            };
            self.model_properties(&mut model)?;
            notes = self.notes()?;
        }
        let opsets = std::mem::take(&mut model.graph.opsets);
        model.graph = self.graph(&opsets, notes)?;
        model.graph.resolve_captures();
        while self.token() != Token::End {
            let function = self.function()?;
            model.functions.push(function);
        }
        Ok(model)
    }

    fn model_properties(&mut self, model: &mut Model) -> Result<(), ParseError> {
        self.properties(|parser, key| {
            match key {
                "ir_version" => model.ir_version = parser.int64("a version")?,
                "opset_import" => model.graph.opsets = parser.opsets()?,
                "producer_name" => model.producer_name = parser.utf8("a name in quotes")?,
                "producer_version" => model.producer_version = parser.utf8("a text in quotes")?,
                "domain" => model.domain = parser.utf8("a domain in quotes")?,
                "model_version" => model.model_version = Some(parser.int64("a version")?),
                "doc_string" => model.doc = parser.utf8("a text in quotes")?,
                "metadata_props" => model.metadata = parser.pairs()?,
                _ => return Ok(Some("model")),
            }
            Ok(None)
        })
    }

    /// `<key: value, …>`. `read` says who the owner is when it does not know a key.
    fn properties(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Result<Option<&'static str>, ParseError>,
    ) -> Result<(), ParseError> {
        let mut given = Vec::new();
        self.expect('<', "`<` and properties")?;
        loop {
            let at = self.at();
            let key = self.word("the name of a property")?.to_owned();
            if given.contains(&key) {
                return Err(self.error_at(at, Problem::Repeated { name: key }));
            }
            self.expect(':', "`:` and a value")?;
            if let Some(owner) = read(self, &key)? {
                return Err(self.error_at(at, Problem::UnknownProperty { name: key, owner }));
            }
            given.push(key);
            if !self.eat(',')? {
                return self.expect('>', "`,` or `>`");
            }
        }
    }

    fn function(&mut self) -> Result<Function, ParseError> {
        const EXPECTED: &str = "a function: `<` and its properties, or its name";
        let notes = self.notes()?;
        self.allow(&notes, "a function", &["metadata"])?;
        let mut function = Function {
            domain: String::new(),
            name: String::new(),
            overload: String::new(),
            attributes: Vec::new(),
            defaults: Vec::new(),
            doc: String::new(),
            metadata: notes.metadata,
            body: Graph::default(),
        };
        if self.is('<') {
            self.function_properties(&mut function)?;
        }
        function.name = self.name(EXPECTED)?;
        function.body.name.clone_from(&function.name);
        if self.is('<') {
            self.parameters(&mut function)?;
        }
        if !self.is('(') {
            return Err(self.unexpected("`<` and attributes, or `(` and inputs"));
        }
        self.signature(&mut function.body)?;
        self.constants_and_types(&mut function.body)?;
        self.nodes(&mut function.body)?;
        function.body.resolve_captures();
        Ok(function)
    }

    fn function_properties(&mut self, function: &mut Function) -> Result<(), ParseError> {
        self.properties(|parser, key| {
            match key {
                "opset_import" => function.body.opsets = parser.opsets()?,
                "domain" => function.domain = parser.utf8("a domain in quotes")?,
                "overload" => function.overload = parser.utf8("an overload in quotes")?,
                "doc_string" => function.doc = parser.utf8("a text in quotes")?,
                _ => return Ok(Some("function")),
            }
            Ok(None)
        })
    }

    /// `<a, b: float = 1>`: attributes that a call must give, and attributes with a default.
    fn parameters(&mut self, function: &mut Function) -> Result<(), ParseError> {
        self.advance()?;
        loop {
            let notes = self.notes()?;
            let at = self.at();
            let name = self.name("the name of an attribute")?;
            let is_taken = function.attributes.contains(&name)
                || function.defaults.iter().any(|default| default.name == name);
            if is_taken {
                return Err(self.error_at(at, Problem::Repeated { name }));
            }
            if self.is(':') || self.is('=') {
                self.allow(&notes, "an attribute", &["doc"])?;
                let mut default = self.attribute(name, &function.body.opsets)?;
                default.doc = notes.doc;
                function.defaults.push(default);
            } else {
                self.allow(&notes, "an attribute without a default", &[])?;
                function.attributes.push(name);
            }
            if !self.eat(',')? {
                return self.expect('>', "`,` or `>`");
            }
        }
    }
}

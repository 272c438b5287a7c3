//! The passes that a recipe may name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use marquetry_ir::ValueId;
use ron::error::SpannedError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{options, pretty};
use crate::pass::{Context, Fact, Pass, PassError, State, Summary};
use crate::{Policy, Selector};

/// What a recipe may name: the built-in passes, and those that a program adds.
///
/// ```
/// use marquetry_quant::pass::{Context, Fact, Pass, PassError, State, Summary};
/// use marquetry_quant::recipe::Registry;
/// use marquetry_quant::Pipeline;
/// use serde::{Deserialize, Serialize};
///
/// /// Says how many sites there are.
/// #[derive(Serialize, Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Count {
///     only_enabled: bool,
/// }
///
/// impl Pass for Count {
///     fn name(&self) -> &str {
///         "Count"
///     }
///     fn requires(&self) -> &[Fact] {
///         &[Fact::Sites]
///     }
///     fn provides(&self) -> &[Fact] {
///         &[]
///     }
///     fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
///         let sites = state.plan.sites().filter(|(_, site)| site.enabled || !self.only_enabled);
///         Ok(Summary::new(self, format!("{} sites", sites.count())))
///     }
/// }
///
/// let registry = Registry::builtin().with::<Count>("Count");
/// let text = "Pipeline(passes: [Group(), Place(), Count(only_enabled: true)])";
/// let pipeline = Pipeline::parse_with(text, &registry).unwrap();
/// assert_eq!(pipeline.names().last(), Some("Count"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    custom: BTreeMap<String, Reader>,
}

#[derive(Clone, Copy)]
struct Reader {
    ron: fn(&str, &str) -> Result<Custom, SpannedError>,
    json: fn(&str, &Value) -> Result<Custom, serde_json::Error>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Registry {
    /// The built-in passes alone.
    pub fn builtin() -> Registry {
        Registry::default()
    }

    /// With another pass under a name. Its fields are read as those of the built-in ones; a name of a
    /// built-in one stays that.
    #[must_use]
    pub fn with<P>(mut self, name: &str) -> Registry
    where
        P: Pass + Serialize + DeserializeOwned + 'static,
    {
        let reader = Reader { ron: from_ron::<P>, json: from_json::<P> };
        self.custom.insert(name.to_owned(), reader);
        self
    }

    /// The names of the passes that were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.custom.keys().map(String::as_str)
    }

    /// Reads the fields of a pass, `(..)`; none where no pass has this name.
    pub(super) fn ron(&self, name: &str, fields: &str) -> Option<Result<Custom, SpannedError>> {
        self.custom.get(name).map(|reader| (reader.ron)(name, fields))
    }

    /// The same from JSON.
    pub(super) fn json(
        &self,
        name: &str,
        fields: &Value,
    ) -> Option<Result<Custom, serde_json::Error>> {
        self.custom.get(name).map(|reader| (reader.json)(name, fields))
    }
}

fn from_ron<P>(name: &str, fields: &str) -> Result<Custom, SpannedError>
where
    P: Pass + Serialize + DeserializeOwned + 'static,
{
    options().from_str::<P>(fields).map(|pass| Custom::new(name, pass))
}

fn from_json<P>(name: &str, fields: &Value) -> Result<Custom, serde_json::Error>
where
    P: Pass + Serialize + DeserializeOwned + 'static,
{
    P::deserialize(fields).map(|pass| Custom::new(name, pass))
}

/// A step of a recipe that is no built-in pass.
#[derive(Clone)]
pub struct Custom {
    name: String,
    ron: String,
    json: Value,
    pass: Arc<dyn Pass>,
}

impl Custom {
    /// A step that runs a pass, under a name.
    pub fn new<P: Pass + Serialize + 'static>(name: &str, pass: P) -> Custom {
        let fields = options().to_string_pretty(&pass, pretty()).unwrap_or_default();
        let fields = if fields == "()" { "" } else { fields.as_str() };
        // What cannot be written as JSON has no JSON form; the pass runs all the same.
        let json = serde_json::to_value(&pass).unwrap_or(Value::Null);
        Custom { ron: format!("{name}{fields}"), name: name.to_owned(), json, pass: Arc::new(pass) }
    }

    /// The text of the step.
    pub fn ron(&self) -> &str {
        &self.ron
    }

    /// The name in the recipe.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fields as JSON.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ron)
    }
}

impl Pass for Custom {
    fn name(&self) -> &str {
        self.pass.name()
    }

    fn requires(&self) -> &[Fact] {
        self.pass.requires()
    }

    fn provides(&self) -> &[Fact] {
        self.pass.provides()
    }

    fn precedes(&self) -> &[Fact] {
        self.pass.precedes()
    }

    fn check(&self, policy: &Policy) -> Result<(), PassError> {
        self.pass.check(policy)
    }

    fn reads(&self) -> Vec<&std::path::Path> {
        self.pass.reads()
    }

    fn writes(&self) -> Vec<&std::path::Path> {
        self.pass.writes()
    }

    fn runs_samples(&self) -> bool {
        self.pass.runs_samples()
    }

    fn select(&self) -> Option<&Selector> {
        self.pass.select()
    }

    fn exclude(&self) -> &[String] {
        self.pass.exclude()
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        self.pass.touches(state)
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        self.pass.run(state, cx)
    }
}

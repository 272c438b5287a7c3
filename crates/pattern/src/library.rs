//! A set of files, checked.

use crate::ast::{Item, Name, Test};
use crate::check;
use crate::core::Pattern;
use crate::diagnostic::{Diagnostic, Severity};
use crate::lower::{Context, items};
use crate::operators::Operators;
use crate::resolve::{Unit, resolve};
use crate::source::{Loader, Sources};
use crate::tested::Tested;

/// Patterns, rules and tests of some files, checked.
///
/// ```
/// use marquetry_pattern::{Files, Library, NoOperators};
///
/// let files = Files(&[
///     ("math.pat", "def square(x) = x ^ 2 | x * x"),
///     ("norm.pat", r#"
///         use "math.pat" { square }
///         pattern L2 <axes> (x) => (y) {
///             y = Sqrt(ReduceSum<axes, keepdims = 1>(square(x)))
///         }
///     "#),
/// ]);
/// let library = Library::load(&files, &["norm.pat"], &NoOperators)?;
/// assert_eq!(library.patterns()[0].name, "L2");
/// # Ok::<(), Vec<marquetry_pattern::Diagnostic>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Library {
    sources: Sources,
    patterns: Vec<Pattern>,
    rules: Vec<Pattern>,
    tests: Vec<Test>,
    tested: Tested,
    warnings: Vec<Diagnostic>,
}

impl Library {
    /// Loads the files of `roots`, and those that they use, and checks all of them.
    ///
    /// The library has the patterns, rules and tests of the roots; what other files declare serves
    /// these.
    ///
    /// # Errors
    ///
    /// Returns all errors of all files, ordered by file and place. Each knows its text, so that it
    /// can be drawn.
    pub fn load(
        loader: &dyn Loader,
        roots: &[&str],
        operators: &dyn Operators,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        let units = resolve(loader, roots, &mut sources, &mut errors);
        let serious = |error: &Diagnostic| error.severity() == Severity::Error;
        let (mut patterns, mut rules, mut tests) = (Vec::new(), Vec::new(), Vec::new());
        let mut tested = Tested::default();
        let context = Context { units: &units, operators };
        for (at, Unit { file, root, .. }) in units.iter().enumerate() {
            for item in &file.items {
                match item {
                    Item::Def(def) => errors.extend(items::def(context, at, def)),
                    Item::Pattern(pattern) => {
                        let (pattern, found) = items::pattern(context, at, pattern);
                        errors.extend(found);
                        patterns.extend(root.then_some(pattern));
                    }
                    Item::Rule(rule) => {
                        let (rule, found) = items::rule(context, at, rule);
                        errors.extend(found);
                        rules.extend(root.then_some(rule));
                    }
                    Item::Test(test) if *root => {
                        tested.add(context, at, test, &mut errors);
                        tests.push(test.clone());
                    }
                    Item::Test(_) => {}
                    Item::Use(_) | Item::Opset(_) | Item::Ops(_) => {}
                }
            }
        }
        if !errors.iter().any(serious) {
            errors.extend(check::hidden_rules(&rules));
        }
        // An error inside a definition is found again wherever the definition is inlined.
        errors.sort_by_cached_key(Diagnostic::sort_key);
        errors.dedup_by_key(|error| (error.span(), error.code));
        errors.iter_mut().for_each(|error| error.attach(&sources));
        if errors.iter().all(|error| error.severity() == Severity::Warning) {
            return Ok(Self { sources, patterns, rules, tests, tested, warnings: errors });
        }
        errors.retain(|error| error.severity() == Severity::Error);
        Err(errors)
    }

    /// Loads one text, without imports.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn parse(
        path: &str,
        text: &str,
        operators: &dyn Operators,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::load(&crate::source::Files(&[(path, text)]), &[path], operators)
    }

    /// Returns the patterns of the roots, in file order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Returns the rules of the roots, in file order.
    pub fn rules(&self) -> &[Pattern] {
        &self.rules
    }

    /// Returns the tests of the roots, in file order.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Returns the pattern or rule that a test names, which may be declared in a file that the file of
    /// the test uses. `None` where the name is not one of a test of this library.
    pub fn tested(&self, name: &Name) -> Option<&Pattern> {
        let declared = self.tested.declared.get(&name.span)?;
        let all = self.patterns.iter().chain(&self.rules).chain(&self.tested.imported);
        all.into_iter().find(|pattern| pattern.span == *declared)
    }

    /// Returns what is right but hardly meant, ordered by file and place.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Returns the texts that all spans are about.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }
}

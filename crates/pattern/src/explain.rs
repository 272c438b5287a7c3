//! What each code means, at length: `explain.md`, one section for each code.

use crate::diagnostic::Code;

const TEXT: &str = include_str!("explain.md");

/// An example of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Whether the code is reported for it; otherwise it has no error and no warning.
    pub bad: bool,
    /// The name of its file: `case.pat`, which is the one that is checked, or one that it uses.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
}

impl Code {
    /// Returns the long form, as Markdown: what it means, an example that has it, the example
    /// mended, and why this is refused.
    ///
    /// ```
    /// use marquetry_pattern::Code;
    ///
    /// assert!(Code::ImportCycle.explain().contains("in a circle"));
    /// ```
    pub fn explain(self) -> &'static str {
        let head = format!("# {self} ");
        let start = TEXT.match_indices(&head).map(|(at, _)| at);
        let start = start.filter(|&at| at == 0 || TEXT[..at].ends_with('\n')).last().unwrap_or(0);
        let end = TEXT[start + 1..].find("\n# P").map_or(TEXT.len(), |end| start + 1 + end);
        TEXT[start..end].trim_end()
    }

    /// Returns the examples of the long form, in order.
    pub fn examples(self) -> Vec<Example> {
        let mut examples = Vec::new();
        let mut rest = self.explain();
        while let Some((_, fence)) = rest.split_once("```pat ") {
            let Some((info, fence)) = fence.split_once('\n') else { break };
            let Some((text, after)) = fence.split_once("```") else { break };
            let (kind, file) = info.split_once(" file=").unwrap_or((info, "case.pat"));
            examples.push(Example { bad: kind == "bad", file, text });
            rest = after;
        }
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section() {
        for code in Code::ALL {
            let head = format!("# {code} {}\n", code.title());
            assert!(code.explain().starts_with(&head), "{head}{}", code.explain());
            let examples = code.examples();
            assert!(examples.iter().any(|example| example.bad), "{code}");
            assert!(examples.iter().any(|example| !example.bad), "{code}");
        }
    }
}

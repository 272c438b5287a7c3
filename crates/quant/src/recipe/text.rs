//! Where things stand in the text of a recipe, RON or JSON: as far as brackets, commas and keys tell it.

use std::ops::Range;

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

/// A way into a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The value of a field.
    Field(&'a str),
    /// An element of a list, from 0.
    At(usize),
}

/// Where the value at the end of a way stands.
pub(super) fn of(text: &str, way: &[Part<'_>]) -> Option<Place> {
    let mut span = 0..text.len();
    for (depth, part) in way.iter().enumerate() {
        span = match part {
            Part::At(at) => items(text, &span)?.1.get(*at)?.clone(),
            Part::Field(key) => {
                // In JSON the fields of a step stand behind its name.
                let is_step = depth == 2 && way[0] == Part::Field("passes");
                let own = if is_step && text[span.clone()].starts_with('{') {
                    fields(text, &span)?.next()?.1
                } else {
                    span
                };
                field(text, &own, key)?
            }
        };
    }
    Some(place(text, span.start))
}

/// Where the list of steps stands, without its brackets, and its elements. None where the text is not made
/// like that.
pub(super) fn steps(text: &str) -> Option<(Range<usize>, Vec<Range<usize>>)> {
    let passes = field(text, &(0..text.len()), "passes")?;
    items(text, &passes)
}

/// Where the value of a field of a struct stands.
pub(super) fn field(text: &str, of: &Range<usize>, key: &str) -> Option<Range<usize>> {
    fields(text, of)?.find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The fields of a struct, up to the first thing that is none and cannot be skipped.
fn fields<'t>(text: &'t str, of: &Range<usize>) -> Option<Fields<'t>> {
    opened(text, of, &["(", "{"]).map(|tokens| Fields { tokens, ended: false })
}

/// The elements of a list, and where they all stand.
fn items(text: &str, of: &Range<usize>) -> Option<(Range<usize>, Vec<Range<usize>>)> {
    let mut tokens = opened(text, of, &["["])?;
    let start = tokens.at;
    let mut found = Vec::new();
    loop {
        let Element { span, last, .. } = element(&mut tokens)?;
        match (span, last) {
            (Some(span), _) => found.push(span),
            (None, true) => {}
            // A comma without an element is an error, which the reader of RON knows to tell.
            (None, false) => return None,
        }
        if last {
            return Some((start..tokens.at - 1, found));
        }
    }
}

/// Line and column of a position, from 1.
pub(super) fn place(text: &str, at: usize) -> Place {
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The tokens behind the first bracket of a kind that is in no other bracket.
fn opened<'t>(text: &'t str, of: &Range<usize>, brackets: &[&str]) -> Option<Tokens<'t>> {
    let mut tokens = Tokens { text: &text[..of.end], at: of.start };
    let mut depth = 0_usize;
    loop {
        let (_, token) = tokens.next()?;
        match token {
            _ if depth == 0 && brackets.contains(&token) => return Some(tokens),
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
}

struct Fields<'t> {
    tokens: Tokens<'t>,
    ended: bool,
}

impl<'t> Iterator for Fields<'t> {
    type Item = (&'t str, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let Element { field, last, .. } = element(&mut self.tokens)?;
            self.ended = last;
            if field.is_some() {
                return field;
            }
        }
        None
    }
}

/// What stands between two commas.
struct Element<'t> {
    /// Nothing where nothing is there.
    span: Option<Range<usize>>,
    /// Its key and where its value stands, if it is a field.
    field: Option<(&'t str, Range<usize>)>,
    /// Whether a bracket closes behind it, and no comma follows.
    last: bool,
}

/// The next element in a bracket that has been read.
fn element<'t>(tokens: &mut Tokens<'t>) -> Option<Element<'t>> {
    let mut span: Option<Range<usize>> = None;
    let mut head: [&str; 2] = [""; 2];
    let mut value: Option<usize> = None;
    let mut depth = 0_usize;
    for count in 0.. {
        let (at, token) = tokens.next()?;
        match token {
            ")" | "]" | "}" | "," if depth == 0 => {
                let field = match (&span, value, head) {
                    (Some(span), Some(start), [key, ":"]) => {
                        Some((key.trim_matches('"'), start..span.end))
                    }
                    _ => None,
                };
                return Some(Element { span, field, last: token != "," });
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        match count {
            0 | 1 => head[count] = token,
            2 => value = Some(at.start),
            _ => {}
        }
        span = Some(span.map_or(at.start, |span| span.start)..at.end);
    }
    None
}

/// The tokens of RON, as far as brackets are concerned: what is in strings and comments is none.
pub(super) struct Tokens<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Tokens<'t> {
    /// The next token; none at the end, or in a string or comment that does not end.
    pub(super) fn next(&mut self) -> Option<(Range<usize>, &'t str)> {
        loop {
            let rest = &self.text[self.at..];
            let skipped = rest.len() - rest.trim_start().len();
            if skipped > 0 {
                self.at += skipped;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += comment(rest)?;
            } else {
                break;
            }
        }
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let raw = rest.strip_prefix('r').map(|rest| rest.trim_start_matches('#'));
        let length = if first == '"' {
            string(rest)?
        } else if raw.is_some_and(|raw| raw.starts_with('"')) {
            let hashes = rest[1..].find('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            2 + hashes + rest[2 + hashes..].find(&end)? + end.len()
        } else if first == '\'' {
            let body = &rest[1..];
            let skip = if body.starts_with('\\') { 2 } else { body.chars().next()?.len_utf8() };
            1 + skip + body.get(skip..)?.find('\'')? + 1
        } else if "()[]{},:".contains(first) {
            1
        } else {
            let ends = |c: char| c.is_whitespace() || "()[]{},:\"'/".contains(c);
            match rest.find(ends) {
                None => rest.len(),
                Some(0) => first.len_utf8(),
                Some(end) => end,
            }
        };
        let span = self.at..self.at + length;
        self.at = span.end;
        Some((span.clone(), &self.text[span]))
    }
}

/// How long a comment is that may hold others.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..)?;
        let step = rest.chars().next()?.len_utf8();
        at += match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => step,
        };
        if depth == 0 {
            return Some(at);
        }
    }
}

/// How long a string is that begins with a quotation mark.
fn string(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    loop {
        match chars.next()? {
            (_, '\\') => {
                chars.next()?;
            }
            (at, '"') => return Some(at + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Part::{At, Field};
    use super::*;

    fn found(text: &str) -> Option<Vec<&str>> {
        Some(steps(text)?.1.into_iter().map(|span| &text[span]).collect())
    }

    #[test]
    fn steps_are_found_in_any_text() {
        let text = r##"// passes: [No]
            Pipeline(target: "passes: [No]", patterns: ["a]", 'x'.pat, r#"b"]"#],
              /* passes: [No /* twice */] */
              passes: [A, B (x: ["],", 'é'], y: {1: 2}) , // C,
                D /* ] */ (),])"##;
        assert_eq!(found(text).unwrap(), ["A", "B (x: [\"],\", 'é'], y: {1: 2})", "D /* ] */ ()"]);
        assert_eq!(found("(passes: [])").unwrap(), Vec::<&str>::new());
        for broken in ["", "Pipeline(", "(passes: [A", "(passes: [,])", "(passes: [\"])", "/* ("] {
            assert_eq!(found(broken), None, "{broken}");
        }
    }

    #[test]
    fn things_are_found_where_they_are_meant() {
        let ron = "// engine\nPipeline(target: \"engine\",\n  passes: [A(engine: 1), Group,\n  \
                   Only(with: (select: 1), select : r#\"op:Gemm\"#),\n  Export(q: \"a\", e: (path: \
                   \"b\")), Gptq(exclude: [x, \"y\"])],\n  engine : Ort)";
        let way = [Field("engine")];
        assert_eq!(of(ron, &way), Some((6, 12)));
        assert_eq!(of("(target: engine)", &way), None);
        let passes = Field("passes");
        assert_eq!(of(ron, &[passes, At(2), Field("select")]), Some((4, 36)));
        assert_eq!(of(ron, &[passes, At(1), Field("select")]), None);
        assert_eq!(of(ron, &[passes, At(3), Field("e"), Field("path")]), Some((5, 28)));
        assert_eq!(of(ron, &[passes, At(4), Field("exclude"), At(1)]), Some((5, 53)));
        assert_eq!(of(ron, &[passes, At(4), Field("exclude"), At(2)]), None);
        let json =
            "{\"passes\": [\"Group\",\n  {\"Export\": {\"q\": \"a\", \"e\": {\"path\": \"b\"}}}]}";
        assert_eq!(of(json, &[passes, At(0)]), Some((1, 13)));
        assert_eq!(of(json, &[passes, At(1), Field("q")]), Some((2, 20)));
        assert_eq!(of(json, &[passes, At(1), Field("e"), Field("path")]), Some((2, 39)));
    }
}

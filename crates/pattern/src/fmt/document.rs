//! A text with places where it may be broken, and how it is printed.

use super::WIDTH;

/// A text with places where it may be broken.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    /// Words; may have lines of its own (a graph of a test).
    Text(String),
    /// A comment on a line of its own.
    Remark(String),
    /// A space, or a new line where the group around is broken.
    Line,
    /// Nothing, or a new line where the group around is broken.
    Soft,
    /// A new line.
    Hard,
    /// An empty line, at the start of a line.
    Blank,
    /// A comment that ends the line, wherever in it it stands.
    Suffix(String),
    /// A comment on a line of its own where a line begins, and one that ends the line elsewhere.
    Own(String),
    /// Docs one after the other.
    Concat(Vec<Doc>),
    /// Lines inside begin two further to the right.
    Indent(Box<Doc>),
    /// Broken at all of its own lines, or at none.
    Group(Box<Doc>),
}

impl Doc {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Whether it has a new line in any case.
    fn broken(&self) -> bool {
        match self {
            Doc::Hard | Doc::Blank => true,
            Doc::Text(_)
            | Doc::Remark(_)
            | Doc::Line
            | Doc::Soft
            | Doc::Suffix(_)
            | Doc::Own(_) => false,
            Doc::Concat(docs) => docs.iter().any(Doc::broken),
            Doc::Indent(inner) | Doc::Group(inner) => inner.broken(),
        }
    }

    /// Its characters on one line; `None` if it needs several or has comments.
    pub(super) fn flat(&self) -> Option<usize> {
        match self {
            Doc::Text(text) if text.contains('\n') => None,
            Doc::Text(text) => Some(text.chars().count()),
            Doc::Line => Some(1),
            Doc::Soft => Some(0),
            Doc::Hard | Doc::Blank | Doc::Remark(_) | Doc::Suffix(_) | Doc::Own(_) => None,
            Doc::Concat(docs) => docs.iter().map(Doc::flat).sum(),
            Doc::Indent(inner) | Doc::Group(inner) => inner.flat(),
        }
    }
}

#[derive(Clone, Copy)]
struct Frame<'d> {
    indent: usize,
    broken: bool,
    doc: &'d Doc,
}

/// Prints a document.
pub(super) fn print(doc: &Doc) -> String {
    let mut printer = Printer { out: String::new(), column: 0, fresh: true, suffixes: Vec::new() };
    let mut stack = vec![Frame { indent: 0, broken: true, doc }];
    while let Some(frame) = stack.pop() {
        let Frame { indent, broken, doc } = frame;
        match doc {
            Doc::Text(text) | Doc::Remark(text) => printer.text(text),
            Doc::Line if !broken => printer.text(" "),
            Doc::Soft if !broken => {}
            Doc::Line | Doc::Soft | Doc::Hard => printer.new_line(indent),
            Doc::Blank => printer.blank(indent),
            Doc::Suffix(comment) => printer.suffixes.push(comment.clone()),
            Doc::Own(comment) if printer.fresh => {
                printer.text(comment);
                printer.new_line(indent);
            }
            Doc::Own(comment) => printer.suffixes.push(comment.clone()),
            Doc::Concat(docs) => {
                stack.extend(docs.iter().rev().map(|doc| Frame { indent, broken, doc }));
            }
            Doc::Indent(inner) => stack.push(Frame { indent: indent + 2, broken, doc: inner }),
            Doc::Group(inner) => {
                let fits = !inner.broken() && fits(inner, &stack, printer.column);
                stack.push(Frame { indent, broken: !fits, doc: inner });
            }
        }
    }
    printer.end_line();
    printer.out
}

/// Whether a group fits on the rest of the line, with what follows up to the next new line.
fn fits(group: &Doc, after: &[Frame<'_>], column: usize) -> bool {
    let mut left = WIDTH.saturating_sub(column);
    let mut stack = vec![(false, group)];
    let mut after = after.iter().rev();
    loop {
        let (broken, doc) = match stack.pop() {
            Some(next) => next,
            None => match after.next() {
                Some(frame) => (frame.broken, frame.doc),
                None => return true,
            },
        };
        match doc {
            Doc::Text(text) => {
                let line = text.split('\n').next().unwrap_or_default();
                match left.checked_sub(line.chars().count()) {
                    Some(rest) => left = rest,
                    None => return false,
                }
                if text.contains('\n') {
                    return true;
                }
            }
            Doc::Line if !broken => match left.checked_sub(1) {
                Some(rest) => left = rest,
                None => return false,
            },
            Doc::Soft if !broken => {}
            Doc::Line | Doc::Soft | Doc::Hard | Doc::Blank => return true,
            Doc::Remark(_) | Doc::Suffix(_) | Doc::Own(_) => {}
            Doc::Concat(docs) => stack.extend(docs.iter().rev().map(|doc| (broken, doc))),
            Doc::Indent(inner) => stack.push((broken, inner)),
            // What follows may be broken as early as it can.
            Doc::Group(inner) => stack.push((broken, inner)),
        }
    }
}

struct Printer {
    out: String,
    column: usize,
    /// Nothing stands on the line but its indent.
    fresh: bool,
    /// Comments for the end of the line.
    suffixes: Vec<String>,
}

impl Printer {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.out.push_str(text);
        self.fresh = false;
        self.column = match text.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => self.column + text.chars().count(),
        };
    }

    fn end_line(&mut self) {
        for comment in std::mem::take(&mut self.suffixes) {
            let gap = if self.fresh { "" } else { "  " };
            self.out.push_str(gap);
            self.out.push_str(&comment);
            self.fresh = false;
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
    }

    fn new_line(&mut self, indent: usize) {
        self.end_line();
        self.out.push('\n');
        self.out.push_str(&" ".repeat(indent));
        self.column = indent;
        self.fresh = true;
    }

    fn blank(&mut self, indent: usize) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.out.push_str(&" ".repeat(indent));
        self.column = indent;
        self.fresh = true;
    }
}

//! Texts that are almost patterns: known ones with bytes, words or bracketed parts changed.
//!
//! Every text follows from a seed and its number, so that a finding is repeated by both.

/// A counter-based generator (SplitMix64): as good as this needs, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    /// The generator of one text.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }
}

/// Words that mean something to the language, and numbers at the edges.
const WORDS: &[&str] = &[
    "where",
    "where?",
    "with",
    "let",
    "either",
    "or",
    "and",
    "not",
    "in",
    "is",
    "if",
    "then",
    "else",
    "const",
    "shared",
    "dup",
    "quant",
    "equals",
    "verify",
    "none",
    "pattern P",
    "rule r",
    "def f",
    "use \"a.pat\"",
    "opset",
    "ops S =",
    "priority",
    "bounded",
    "test \"t\"",
    "matches",
    "becomes",
    "skip",
    "...",
    "?",
    "_?",
    "_",
    "|",
    "~>",
    "=>",
    "=",
    "==",
    "<",
    ">",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ";",
    "#",
    "\"",
    "+?",
    "*?",
    "^",
    "@",
    "??",
    "++",
    "//",
    "**",
    "±",
    "1%",
    "-",
    "- -",
    "0",
    "1",
    "-1",
    "1e-5",
    "1e999",
    "99999999999999999999",
    "inf",
    "nan",
    "9223372036854775807",
    "x",
    "y",
    "axes",
    "Relu",
    "Split",
    "full",
    "β",
    "²",
    "\u{feff}",
    "x...",
    "F*(x)",
    "(x = y)",
    "{1 : [2]}",
    "a.b.C",
    "x'",
    "\t",
    "\r\n",
    "\n\n",
];

/// One text: a seed text with a few changes, often of parts of others.
pub(crate) fn mutated(seeds: &[String], random: &mut Random) -> String {
    let mut text = seeds[random.below(seeds.len())].clone();
    if random.below(3) > 0 {
        text = paragraph(&text, random);
    }
    for _ in 0..=random.below(4) {
        text = match random.below(8) {
            0 => bytes(&text, random),
            1 | 2 => word(&text, random),
            3 => swapped(&text, random),
            4 | 5 => grafted(&text, &seeds[random.below(seeds.len())], random),
            6 => wrapped(&text, random),
            _ => doubled(&text, random),
        };
        if text.len() > 1 << 16 {
            text = paragraph(&text, random);
        }
    }
    text
}

/// One paragraph of a text: small texts come to the rare errors sooner.
fn paragraph(text: &str, random: &mut Random) -> String {
    let parts: Vec<&str> = text.split("\n\n").collect();
    parts[random.below(parts.len())].to_owned()
}

fn bytes(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 if !bytes.is_empty() => bytes[at] = random.below(256) as u8,
            1 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, random.below(128) as u8),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Words, and everything else one character at a time.
fn tokens(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut tokens: Vec<std::ops::Range<usize>> = Vec::new();
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        match tokens.last_mut() {
            Some(last) if word && in_word => last.end = at + c.len_utf8(),
            _ if !c.is_whitespace() => tokens.push(at..at + c.len_utf8()),
            _ => {}
        }
        in_word = word;
    }
    tokens
}

fn replaced(text: &str, range: std::ops::Range<usize>, by: &str) -> String {
    format!("{}{by}{}", &text[..range.start], &text[range.end..])
}

/// One word less, or another one in its place.
fn word(text: &str, random: &mut Random) -> String {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return WORDS[random.below(WORDS.len())].to_owned();
    }
    let range = tokens[random.below(tokens.len())].clone();
    match random.below(4) {
        0 => replaced(text, range, ""),
        1 => {
            let other = text[tokens[random.below(tokens.len())].clone()].to_owned();
            replaced(text, range, &other)
        }
        2 => {
            replaced(text, range.end..range.end, &format!(" {} ", WORDS[random.below(WORDS.len())]))
        }
        _ => replaced(text, range, WORDS[random.below(WORDS.len())]),
    }
}

fn swapped(text: &str, random: &mut Random) -> String {
    let tokens = tokens(text);
    let (a, b) = (random.below(tokens.len()), random.below(tokens.len()));
    let (Some(a), Some(b)) = (tokens.get(a.min(b)), tokens.get(a.max(b))) else {
        return text.to_owned();
    };
    if a == b {
        return text.to_owned();
    }
    let (first, second) = (&text[a.clone()], &text[b.clone()]);
    format!("{}{second}{}{first}{}", &text[..a.start], &text[a.end..b.start], &text[b.end..])
}

/// Bracketed parts, and the lines between them.
fn groups(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut open = Vec::new();
    let mut groups = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => open.push(at),
            b')' | b']' | b'}' | b'>' => groups.extend(open.pop().map(|start| start..at + 1)),
            _ => {}
        }
    }
    groups
}

/// A bracketed part takes the place of another one, or stands after it.
fn grafted(text: &str, from: &str, random: &mut Random) -> String {
    let (here, there) = (groups(text), groups(from));
    if here.is_empty() || there.is_empty() {
        return format!("{text}\n{from}");
    }
    let part = &from[there[random.below(there.len())].clone()];
    let place = here[random.below(here.len())].clone();
    match random.below(3) {
        0 => replaced(text, place.end..place.end, part),
        _ => replaced(text, place, part),
    }
}

/// A part in many brackets, minuses or calls.
fn wrapped(text: &str, random: &mut Random) -> String {
    let groups = groups(text);
    if groups.is_empty() {
        return text.to_owned();
    }
    let place = groups[random.below(groups.len())].clone();
    let part = text[place.clone()].to_owned();
    let (before, after) = [
        ("(", ")"),
        ("-", ""),
        ("Relu(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("not ", ""),
        ("<a = ", ">"),
        ("Relu?(", ")"),
        ("x ^ ", ""),
        ("x +? ", ""),
        ("Relu*(", ")"),
        ("if true then x else ", ""),
        ("x | ", ""),
        ("(y = ", ")"),
        ("Add{x, ", "}"),
        ("dup ", ""),
        ("2 ** ", ""),
    ][random.below(17)];
    let times = [1, 2, 5, 40, 70, 300][random.below(6)];
    replaced(text, place, &format!("{}{part}{}", before.repeat(times), after.repeat(times)))
}

/// A line or an item twice.
fn doubled(text: &str, random: &mut Random) -> String {
    let separator = if random.below(2) == 0 { "\n" } else { "\n\n" };
    let mut lines: Vec<&str> = text.split(separator).collect();
    let at = random.below(lines.len());
    for _ in 0..=random.below(3) {
        lines.insert(random.below(lines.len() + 1), lines[at]);
    }
    lines.join(separator)
}

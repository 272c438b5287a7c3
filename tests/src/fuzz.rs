//! Texts that are almost patterns: nothing panics, and formatting keeps the meaning. The example
//! `fuzz` of the crate `pattern` does the same for as long as one likes.

use std::path::Path;

use marquetry_pattern::fmt;

#[path = "../../crates/pattern/examples/fuzz/mutate.rs"]
mod mutate;
#[path = "../../crates/pattern/examples/fuzz/read.rs"]
mod read;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How many texts are tried each time.
const TEXTS: u64 = 300;

/// The texts of all pattern files of the project, and of the cases, with a name for each.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let folders = ["patterns", "tests/fixtures/patterns", "tests/cases", "examples"];
    let mut waiting: Vec<_> = folders.iter().map(|folder| Path::new(ROOT).join(folder)).collect();
    while let Some(path) = waiting.pop() {
        let name = path.display().to_string();
        if path.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if name.ends_with(".pat") {
            texts.push((name, std::fs::read_to_string(&path).unwrap()));
        } else if name.ends_with(".case") {
            let case = std::fs::read_to_string(&path).unwrap();
            for (head, body) in crate::case::sections(&case) {
                if head.starts_with("pattern") || head.ends_with(".pat") {
                    texts.push((name.clone(), body.to_owned()));
                }
            }
        }
    }
    texts.sort();
    texts
}

#[test]
fn known_texts_keep_their_meaning_when_formatted() {
    let texts = texts();
    assert!(texts.len() > 100, "{}", texts.len());
    for (name, text) in texts {
        let read = std::panic::catch_unwind(|| read::read(&text));
        assert!(read.is_ok(), "{name}");
    }
}

/// Comments between words, on the line of the word before and on lines of their own: they are kept,
/// change no meaning, and formatting a second time changes nothing.
#[test]
fn comments_between_words_are_formatted() {
    let mut tried = 0;
    for (name, text) in texts() {
        for item in items(&text) {
            for (at, gap) in boundaries(item).into_iter().enumerate() {
                // Each place in turn of all texts together, so that each kind of place is met.
                tried += 1;
                if tried % STRIDE != 0 {
                    continue;
                }
                let (before, after) = item.split_at(gap);
                let comment = if at % 2 == 0 { " # why\n" } else { "\n  # why\n  " };
                let text = format!("{before}{comment}{after}");
                let read = std::panic::catch_unwind(|| read::read(&text));
                assert!(read.is_ok(), "{name}:\n{text}");
            }
        }
        let everywhere = items(&text).into_iter().map(|item| {
            let mut commented = String::new();
            let mut start = 0;
            for (at, gap) in boundaries(item).into_iter().enumerate() {
                commented.push_str(&item[start..gap]);
                commented.push_str(if at % 3 == 0 { " # why\n" } else { " " });
                start = gap;
            }
            commented + &item[start..]
        });
        for text in everywhere {
            let read = std::panic::catch_unwind(|| read::read(&text));
            assert!(read.is_ok(), "{name}:\n{text}");
        }
    }
    assert!(tried > 20_000, "{tried}");
}

/// Which of the places between words are tried.
const STRIDE: usize = 101;

/// The items of a file: from a line that begins with a letter to the next one.
fn items(text: &str) -> Vec<&str> {
    let begins = |at: usize| {
        let keywords = ["def ", "pattern ", "rule ", "use ", "opset ", "ops ", "test "];
        (at == 0 || text[..at].ends_with('\n'))
            && keywords.iter().any(|word| text[at..].starts_with(word))
    };
    let starts = text.char_indices().map(|(at, _)| at).filter(|at| begins(*at));
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &text[start..end]).collect()
}

/// Places between two words, but for those in strings, comments and the graphs of tests.
fn boundaries(item: &str) -> Vec<usize> {
    let mut places = Vec::new();
    if item.starts_with("test ") {
        return places;
    }
    let (mut quoted, mut comment) = (false, false);
    let mut before = ' ';
    for (at, next) in item.char_indices() {
        let word = |c: char| c.is_alphanumeric() || "_'.±%".contains(c);
        // Signs of more than one character, and marks, which stand next to their word.
        let sign = |c: char| "=~>?<.*+-/^|!:".contains(c);
        let inside =
            word(before) && word(next) || sign(before) && sign(next) || "?*+!".contains(next);
        if at > 0 && !quoted && !comment && !inside && before != '\n' && next != '#' {
            places.push(at);
        }
        match next {
            '"' if !comment => quoted = !quoted,
            '#' if !quoted => comment = true,
            '\n' => comment = false,
            _ => {}
        }
        before = next;
    }
    places
}

#[test]
fn mutated_texts_do_not_panic() {
    let seeds: Vec<String> = texts().into_iter().map(|(_, text)| text).collect();
    for number in 0..TEXTS {
        let text = mutate::mutated(&seeds, &mut mutate::Random::new(7, number));
        let read = std::panic::catch_unwind(|| read::read(&text));
        assert!(read.is_ok(), "text {number}:\n{text}");
    }
}

#[test]
fn pattern_files_are_formatted() {
    let files = texts().into_iter().filter(|(name, _)| name.ends_with(".pat"));
    let wrong: Vec<String> = files
        .filter(|(_, text)| fmt::format(text).is_ok_and(|formatted| formatted != *text))
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "run `marquetry pattern fmt` on {}", wrong.join(", "));
}

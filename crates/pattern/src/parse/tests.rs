use super::*;

fn errors(text: &str) -> Vec<String> {
    let (_, errors) = parse(SourceId::default(), text);
    errors.iter().map(|error| format!("{}: {}", error.span().start, error.fact())).collect()
}

#[test]
fn punctuation_is_expected_where_it_is_missing() {
    let text = "pattern P (x, w) => (y) { y = MatMul(x w) }";
    let at = text.find("w) }").unwrap();
    let errors = errors(text);
    assert!(errors[0].starts_with(&format!("{at}: expected ")), "{errors:?}");
    assert!(errors[0].contains("`,`") && errors[0].contains("`)`"), "{errors:?}");
}

#[test]
fn a_broken_item_does_not_hide_the_others() {
    let text = "def f(x) = )\ndef g(x) = x\npattern P (x => (y) { y = x }\ndef h(x) = x";
    let (file, errors) = parse(SourceId::default(), text);
    assert_eq!((file.items.len(), errors.len()), (2, 2));
}

#[test]
fn keywords_end_at_a_boundary() {
    let text = "pattern P (x) => (y) { letter = x  y = Relu(letter) }";
    assert_eq!(errors(text), [""; 0]);
}

#[test]
fn depth_is_refused_not_overflowed() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("f(", ")"), ("- ", ""), ("x - ", "")]
    {
        let text = format!("def f(x) = {}x{}", open.repeat(20_000), close.repeat(20_000));

        assert_eq!(errors(&text).len(), 1, "{open}");
    }
    for word in ["not ", "2 ** ", "2 + ", "x.", "x[1]"] {
        let text = format!("def f(x) = x if {}x > 1", word.repeat(20_000));

        assert_eq!(errors(&text).len(), 1, "{word}");
    }
    let chain = "if k then x else ".repeat(20_000);
    assert_eq!(errors(&format!("rule r: Neg(x) ~> {chain} x")).len(), 1);
}

#[test]
fn nesting_costs_no_exponential_time() {
    let calls = format!("def f(x) = {}x{}", "g<a = 1>(".repeat(60), ")".repeat(60));
    let groups = format!("def f(x) = {}x{}", "(".repeat(60), ")".repeat(60));
    let guards = format!("def f(x) = x if {}x{} > 1", "(".repeat(60), ")".repeat(60));
    let functions = format!("def f(x) = x if {}x{} > 1", "abs(".repeat(60), ")".repeat(60));
    for text in [calls, groups, guards, functions] {
        assert_eq!(errors(&text), [""; 0]);
    }
}

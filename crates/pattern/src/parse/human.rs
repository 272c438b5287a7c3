//! What the rules of the grammar are called in messages.

use super::Rule;

/// Returns the name of a rule for people. Exhaustive, so that a new rule cannot leak its Rust name.
pub(super) fn human(entry: Rule) -> &'static str {
    match entry {
        Rule::EOI => "the end of the item",
        Rule::WHITESPACE | Rule::COMMENT | Rule::boundary | Rule::known_hint | Rule::gap => {
            "white space"
        }
        Rule::comma => "`,`",
        Rule::colon | Rule::short_rule => "`:`",
        Rule::semicolon => "`;`",
        Rule::open | Rule::group | Rule::naming => "`(`",
        Rule::close => "`)`",
        Rule::open_brace
        | Rule::body
        | Rule::constant
        | Rule::build
        | Rule::counts
        | Rule::bindings => "`{`",
        Rule::close_brace => "`}`",
        Rule::open_list | Rule::list => "`[`",
        Rule::close_list => "`]`",
        Rule::open_angle | Rule::sig_attrs | Rule::attrs => "`<`",
        Rule::close_angle => "`>`",
        Rule::assign => "`=`",
        Rule::results_to | Rule::results => "`=>`",
        Rule::arrow => "`~>`",
        Rule::bar => "`|`",
        Rule::dots => "`...`",
        Rule::absent_any => "`_?`",
        Rule::maybe | Rule::soft => "`?`",
        Rule::coalesce => "`??`",
        Rule::caret => "`^`",
        Rule::power_sign => "`**`",
        Rule::minus => "`-`",
        Rule::dot => "`.`",
        Rule::span_dots => "`..`",
        Rule::k_use => "`use`",
        Rule::k_def => "`def`",
        Rule::k_pattern => "`pattern`",
        Rule::k_rule => "`rule`",
        Rule::k_test => "`test`",
        Rule::k_ops => "`ops`",
        Rule::k_opset => "`opset`",
        Rule::k_where | Rule::where_ => "`where`",
        Rule::k_with => "`with`",
        Rule::k_let | Rule::let_ => "`let`",
        Rule::k_either | Rule::either => "`either`",
        Rule::k_or => "`or`",
        Rule::k_and => "`and`",
        Rule::k_not => "`not`",
        Rule::k_in | Rule::family => "`in`",
        Rule::k_is | Rule::is_pattern => "`is`",
        Rule::k_if | Rule::build_if => "`if`",
        Rule::k_then => "`then`",
        Rule::k_else => "`else`",
        Rule::k_when => "`when`",
        Rule::k_const | Rule::const_name => "`const`",
        Rule::k_shared => "`shared`",
        Rule::k_dup => "`dup`",
        Rule::k_true => "`true`",
        Rule::k_false => "`false`",
        Rule::k_none => "`none`",
        Rule::k_quant | Rule::quant => "`quant`",
        Rule::k_equals | Rule::equals => "`equals`",
        Rule::k_verify | Rule::verify => "`verify`",
        Rule::k_as => "`as`",
        Rule::k_axis => "`axis`",
        Rule::k_of => "`of`",
        Rule::k_off => "`off`",
        Rule::k_on => "`on`",
        Rule::k_priority | Rule::priority => "`priority`",
        Rule::k_bounded | Rule::bounded => "`bounded`",
        Rule::k_tol | Rule::verify_tol => "`tol`",
        Rule::k_samples | Rule::verify_samples => "`samples`",
        Rule::k_matches => "`matches`",
        Rule::k_rejects => "`rejects`",
        Rule::k_because => "`because`",
        Rule::k_becomes => "`becomes`",
        Rule::k_by => "`by`",
        Rule::k_fuse => "`fuse`",
        Rule::k_outline => "`outline`",
        Rule::k_expand => "`expand`",
        Rule::k_skip => "`skip`",
        Rule::k_quantize => "`quantize`",
        Rule::k_share => "`share`",
        Rule::k_symmetric => "`symmetric`",
        Rule::k_per_channel | Rule::per_channel => "`per_channel`",
        Rule::k_bias | Rule::bias => "`bias`",
        Rule::k_range | Rule::hint_range => "`range`",
        Rule::k_tag | Rule::tag => "`tag`",
        Rule::keyword => "a keyword",
        Rule::ident
        | Rule::operand_name
        | Rule::name
        | Rule::params
        | Rule::param
        | Rule::left
        | Rule::names => "a name",
        Rule::quoted => "a string",
        Rule::upper => "a capitalised name",
        Rule::qual => "an operator with its domain",
        Rule::int => "an integer",
        Rule::float | Rule::number => "a number",
        Rule::exponent => "an exponent",
        Rule::tolerance => "a tolerance such as `± 1%`",
        Rule::use_item | Rule::use_ => r#"an import such as `use "std/math.pat"`"#,
        Rule::opset_item | Rule::opset => r#"an opset range such as `opset "" 13..`"#,
        Rule::ops_item | Rule::ops => "an operator set such as `ops Unary = Relu, Sigmoid`",
        Rule::def_item | Rule::def => "a definition such as `def square(x) = x ^ 2`",
        Rule::pattern_item | Rule::pattern => "a pattern",
        Rule::rule_item | Rule::rule => "a rule",
        Rule::test_item | Rule::test => "a test",
        Rule::range => "a range such as `13..18`",
        Rule::op_path => "an operator",
        Rule::block_rule => "`(` or `<`",
        Rule::meta => "`priority`, `opset` or `in`",
        Rule::sig_attr => "an attribute name",
        Rule::value_type | Rule::dtype | Rule::constant_type => "a type",
        Rule::shape => "a shape such as `[B, D]`",
        Rule::dimension => "a dimension",
        Rule::statement | Rule::equation | Rule::build_statement | Rule::build_equation => {
            "an equation such as `y = MatMul(x, w)`"
        }
        Rule::label => "a label",
        Rule::qualifier => "`shared`, `dup` or `const`",
        Rule::alt
        | Rule::branch
        | Rule::sum
        | Rule::product
        | Rule::coalesced
        | Rule::power
        | Rule::unary
        | Rule::postfix
        | Rule::primary
        | Rule::build_expr => "an expression",
        Rule::bind => "a binding such as `k = 1`",
        Rule::add_sign | Rule::plus_sign => "`+`",
        Rule::mul_sign | Rule::times_sign => "`*`",
        Rule::call | Rule::callee | Rule::operator_as => "a call",
        Rule::mark => "`?`, `*`, `+` or `!`",
        Rule::attr => "an attribute",
        Rule::attr_value => "an attribute value",
        Rule::anything => "`_`",
        Rule::graph_value => "a graph",
        Rule::tensor => "a tensor",
        Rule::args | Rule::arg => "an argument",
        Rule::guard | Rule::conjunction | Rule::negation | Rule::comparison => "a condition",
        Rule::compare_sign => "a comparison",
        Rule::arith | Rule::term | Rule::factor | Rule::operand | Rule::access | Rule::atom => {
            "a number or name"
        }
        Rule::slice => "a slice",
        Rule::guard_call => "a function",
        Rule::hint | Rule::hint_names | Rule::unknown_hint => "a hint such as `skip x`",
        Rule::verify_clause => "a clause such as `tol 1e-5`",
        Rule::verify_in => "a clause such as `x in uniform(-3, 3)`",
        Rule::expect => "`matches`, `rejects` or `becomes`",
        Rule::step => "a rule, or `fuse` and a pattern",
        Rule::binding => "a binding such as `eps = 1e-5`",
        Rule::graph_text
        | Rule::in_parens
        | Rule::in_braces
        | Rule::in_lists
        | Rule::in_angles
        | Rule::nested => "a graph in ONNX text",
    }
}

/// Is the rule only there to be named in messages?
pub(super) fn is_punctuation(entry: Rule) -> bool {
    matches!(
        entry,
        Rule::EOI
            | Rule::comma
            | Rule::semicolon
            | Rule::open
            | Rule::close
            | Rule::open_brace
            | Rule::close_brace
            | Rule::open_list
            | Rule::close_list
            | Rule::open_angle
            | Rule::close_angle
            | Rule::assign
            | Rule::results_to
            | Rule::arrow
            | Rule::bar
            | Rule::coalesce
            | Rule::caret
            | Rule::power_sign
            | Rule::dot
    )
}

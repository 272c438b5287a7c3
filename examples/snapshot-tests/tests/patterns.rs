//! Ways to test patterns and rules from Rust.

use marquetry_testing::{assert_matches, assert_pattern_tests, assert_rewrite, assert_verified};
use snapshot_tests_example::PATTERNS;

/// What is found, as a snapshot: `cargo insta review` shows what has changed.
#[test]
fn the_activation_is_found_with_its_convolution() {
    assert_matches!(
        PATTERNS,
        "g (float[1,3,8,8] image) => (float[1,4,8,8] out) <float[4,3,1,1] w = {...}, float[4] b = {...}> {
            c = Conv (image, w, b)
            s = Sigmoid (c)
            out = Mul (s, c)
        }",
        @r"
        ConvSilu: rest=<> x=image w=w b=b y=out c=c
          c=Conv s=Sigmoid out=Mul
        "
    );
}

/// What becomes of a graph, as a snapshot.
#[test]
fn a_constant_is_subtracted_by_adding() {
    assert_rewrite!(
        PATTERNS,
        "g (float[2] x, float[2] z) => (float[2] y) <float c = {0.5}> {
            a = Sub (x, c)
            y = Sub (a, z)
        }",
        @r"
        sub_to_add at a: 1 node becomes 1

        g (float[2] x, float[2] z) => (float[2] y) <
           float a_d = {-0.5}
        > {
           a = Add (x, a_d)
           y = Sub (a, z)
        }
        "
    );
}

/// What is made of a pattern where a function of the model is to stand for it.
#[test]
fn the_accelerator_gets_a_function() {
    assert_rewrite!(
        PATTERNS,
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w = {...}> {
            c = Conv (x, w)
            s = Sigmoid (c)
            d = Mul (c, s)
            y = Relu (d)
        }",
        by "outline ConvSilu"
    );
}

/// The tests that stand in the pattern file.
#[test]
fn the_file_passes_its_tests() {
    assert_pattern_tests!("npu.pat");
}

/// The rule is right: both sides compute the same on graphs that are made from it.
#[test]
fn the_rule_is_verified() {
    assert_verified!("npu.pat");
}

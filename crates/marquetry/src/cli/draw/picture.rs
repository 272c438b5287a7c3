//! Boxes and flows as SVG, alone or in a page.
//!
//! All that comes from a model goes through [`escaped`]: names are text, whatever they look like.

use std::fmt::Write as _;

use super::layout::{Layout, fitted};
use super::scene::{Kind, Scene};

/// What kind of file a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Svg,
    /// A page that can be moved, enlarged and searched.
    Html,
}

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#222;text-anchor:middle}\
.t{font-weight:600}.l{font-size:11px;fill:#444}\
rect{stroke:#0003;rx:5px}path{fill:none;stroke:#888;stroke-width:1.2}path:hover{stroke:#c30;stroke-width:2.5}\
.input,.output{fill:#e4e4e4}.kernel{fill:#bcd5f0}.activation{fill:#f3c9c3}.norm{fill:#c9e6c6}\
.movement{fill:#efe3cb}.quantizer{fill:#dcd3ee}.other{fill:#f4f4f4}.group{fill:#ffe08a;stroke:#b8860b}";

const PAGE: &str = include_str!("page.html");

pub(super) fn draw(scene: &Scene, layout: &Layout, title: &str, format: Format) -> String {
    let svg = svg(scene, layout, title);
    match format {
        Format::Svg => svg,
        Format::Html => {
            let (head, rest) = PAGE.split_once("{{title}}").expect("the page has a title");
            let (middle, tail) = rest.split_once("{{picture}}").expect("the page has a picture");
            // Put together from pieces, so that nothing in a model is taken for a place in the page.
            [head, &escaped(title), middle, &svg, tail].concat()
        }
    }
}

fn svg(scene: &Scene, layout: &Layout, title: &str) -> String {
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    let mut out = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        out.write_fmt(line).expect("a string takes any text");
        out.push('\n');
    };
    put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">"
    ));
    put(format_args!("<title>{}</title><style>{STYLE}</style>", escaped(title)));
    put(format_args!("<rect width=\"100%\" height=\"100%\" fill=\"#fff\" stroke=\"none\"/>"));
    for (flow, pieces) in scene.flows.iter().zip(&layout.flows) {
        let mut path = String::new();
        for [(x, y), (to_x, to_y)] in pieces {
            if (x - to_x).abs() < 0.5 {
                write!(path, "M{x:.0} {y:.0}V{to_y:.0}").expect("a string takes any text");
            } else {
                let bend = (y + to_y) / 2.0;
                write!(
                    path,
                    "M{x:.0} {y:.0}C{x:.0} {bend:.0} {to_x:.0} {bend:.0} {to_x:.0} {to_y:.0}"
                )
                .expect("a string takes any text");
            }
        }
        put(format_args!("<path d=\"{path}\"><title>{}</title></path>", escaped(&flow.tip)));
    }
    for (one, place) in scene.boxes.iter().zip(&layout.boxes) {
        let left = place.x - place.width / 2.0;
        put(format_args!(
            "<g><title>{}</title><rect class=\"{}\" x=\"{left:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\"/>",
            escaped(&one.tip),
            class(one.kind),
            place.y,
            place.width,
            place.height,
        ));
        let mut y = place.y + 17.0;
        put(format_args!(
            "<text class=\"t\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
            place.x,
            escaped(&fitted(&one.title))
        ));
        for line in &one.lines {
            y += 15.0;
            put(format_args!(
                "<text class=\"l\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
                place.x,
                escaped(&fitted(line))
            ));
        }
        put(format_args!("</g>"));
    }
    put(format_args!("</svg>"));
    out
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input",
        Kind::Output => "output",
        Kind::Kernel => "kernel",
        Kind::Activation => "activation",
        Kind::Norm => "norm",
        Kind::Movement => "movement",
        Kind::Quantizer => "quantizer",
        Kind::Other => "other",
        Kind::Group => "group",
    }
}

/// Text as it may stand between tags and in attributes, without characters that XML forbids.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_are_text() {
        assert_eq!(
            escaped("</title><script>'x'&\"\u{0}"),
            "&lt;/title&gt;&lt;script&gt;&#39;x&#39;&amp;&quot;\u{fffd}"
        );
    }
}

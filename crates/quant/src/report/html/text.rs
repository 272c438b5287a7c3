//! Text and numbers of a page.

use std::fmt;

/// A text in which nothing is markup: names in models are anybody's.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Invisible characters could make a name look like another.
                '\n' | '\t' => f.write_str(" ")?,
                c if c.is_control()
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    f.write_str("\u{fffd}")?;
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A text with what stands between backquotes as a name.
pub(super) fn labelled(text: &str) -> String {
    if text.matches('`').count() % 2 == 1 {
        return Text(text).to_string();
    }
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => Text(part).to_string(),
        _ => format!("<span class=\"name\">{}</span>", Text(part)),
    };
    text.split('`').enumerate().map(part).collect()
}

/// `1 node`, `2 nodes`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// A count with its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A number with four significant digits.
pub(super) fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !x.is_finite() {
        return "∞".to_owned();
    }
    let magnitude = x.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{x:.2e}").replace('-', "−");
    }
    let decimals = (3.0 - magnitude).clamp(0.0, 7.0) as usize;
    let text = format!("{x:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    text.replace('-', "−")
}

/// Decibels with one decimal.
pub(super) fn decibels(x: f64) -> String {
    format!("{x:.1}\u{a0}dB").replace('-', "−")
}

/// A part as a percentage.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0\u{a0}%".to_owned(),
        x if x < 0.001 => "< 0.001\u{a0}%".to_owned(),
        x if x < 0.1 => format!("{x:.3}\u{a0}%"),
        x if x < 10.0 => format!("{x:.2}\u{a0}%"),
        x if x <= 1000.0 => format!("{x:.0}\u{a0}%"),
        _ => "> 1000\u{a0}%".to_owned(),
    }
}

/// Bytes with the unit that suits them.
pub(super) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if amount < 1000.0 || unit == "GB" {
            let decimals = if unit == "B" { 0 } else { 1 };
            return format!("{amount:.decimals$}\u{a0}{unit}");
        }
        amount /= 1000.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup() {
        let hostile = "</script><img src=x onerror='alert(1)'>&\"\u{202e}\u{7}";
        let shown = Text(hostile).to_string();
        assert!(!shown.contains(['<', '>', '"', '\'', '\u{202e}', '\u{7}']), "{shown}");
        assert_eq!(Text("a&b").to_string(), "a&amp;b");
        assert_eq!(labelled("Conv `<b>`"), "Conv <span class=\"name\">&lt;b&gt;</span>");
        assert_eq!(labelled("a`<b>"), "a`&lt;b&gt;");
    }

    #[test]
    fn numbers_have_four_digits() {
        let shown = [0.0, 1.0, -0.012345, 1234.56, 1e9, -3.4e38, 250.0].map(number);
        assert_eq!(shown, ["0", "1", "−0.01235", "1235", "1.00e9", "−3.40e38", "250"]);
        assert_eq!(
            [0.0, 1e-9, 0.00058, 0.5, 99.0].map(percent).concat().replace('\u{a0}', " "),
            "0 %< 0.001 %0.058 %50 %> 1000 %"
        );
        assert_eq!(bytes(135_922), "135.9\u{a0}kB");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}

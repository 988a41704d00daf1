//! The text that Prometheus reads, in both of its dialects: Prometheus' own, version 0.0.4, and
//! OpenMetrics 1.0.

use std::fmt::{self, Write as _};

use broker::Histogram;

/// Which dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What the header `Accept` asks for: OpenMetrics if it is named, else Prometheus.
    pub(super) fn wanted(accept: &str) -> Format {
        let refused = |range: &str| {
            let mut parts = range.split(';').skip(1).map(str::trim);
            parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        };
        let named = |range: &str| range.trim().starts_with("application/openmetrics-text");
        let wanted = accept.split(',').any(|range| named(range) && !refused(range));
        if wanted { Format::OpenMetrics } else { Format::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Grows; its name gets the ending `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A page of metrics, while it is written.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    text: String,
}

/// Samples of one name follow.
#[derive(Debug)]
pub(super) struct Family<'p> {
    page: &'p mut Page,
    /// With the ending that samples have.
    name: String,
}

/// A label's name and value.
pub(super) type Label<'l> = (&'static str, &'l str);

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page { format, text: String::new() }
    }

    /// Begins a name; `name` is without `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let (kind, ending) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let samples = format!("{name}{ending}");
        // OpenMetrics names the family, Prometheus its samples.
        let described = if self.format == Format::OpenMetrics { name } else { &samples };
        self.describe(described, kind, help);
        Family { page: self, name: samples }
    }

    /// Begins a name with histograms.
    pub(super) fn histograms(&mut self, name: &str, help: &str) -> Family<'_> {
        self.describe(name, "histogram", help);
        Family { page: self, name: name.to_owned() }
    }

    fn describe(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String can't fail.
        _ = writeln!(self.text, "# TYPE {name} {kind}\n# HELP {name} {}", Escaped(help));
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl fmt::Display) {
        let name = std::mem::take(&mut self.name);
        self.line(&name, labels, None, value);
        self.name = name;
    }

    /// A histogram of which `scale` make one of the unit in the name. Every other bound is left out:
    /// a power of four tells enough.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram, scale: f64) {
        let bucket = format!("{}_bucket", self.name);
        for (bound, below) in histogram.cumulative().step_by(2) {
            let bound = float(bound) / scale;
            self.line(&bucket, labels, Some(&format!("{bound:?}")), below);
        }
        self.line(&bucket, labels, Some("+Inf"), histogram.count());
        let (sum, count) = (format!("{}_sum", self.name), format!("{}_count", self.name));
        self.line(&sum, labels, None, float(histogram.sum()) / scale);
        self.line(&count, labels, None, histogram.count());
    }

    fn line(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        bound: Option<&str>,
        value: impl fmt::Display,
    ) {
        let text = &mut self.page.text;
        text.push_str(name);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(bound) {
            _ = write!(text, "{before}{label}=\"{}\"", Escaped(value));
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        _ = writeln!(text, " {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measure needs no more digits")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// Text with what means something else escaped.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_says_which_dialect() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            ("", Prometheus),
            ("*/*", Prometheus),
            ("text/plain", Prometheus),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4", OpenMetrics),
            ("application/openmetrics-text; q=0, text/plain", Prometheus),
        ] {
            assert_eq!(Format::wanted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn both_dialects_are_written() {
        let mut histogram = Histogram::default();
        histogram.record(3, 2);
        for (format, name, end) in
            [(Format::Prometheus, "a_total", ""), (Format::OpenMetrics, "a", "# EOF\n")]
        {
            let mut page = Page::new(format);
            page.family("a", Kind::Counter, "Say \"a\".").sample(&[("q", "x\"\\\n")], 7);
            page.family("b", Kind::Gauge, "B.").sample(&[], 1.5);
            let mut family = page.histograms("c", "C.");
            family.histogram(&[("v", "/")], &histogram, 1.0);
            let text = page.finish();
            let begin = format!(
                "# TYPE {name} counter\n# HELP {name} Say \\\"a\\\".\n\
                 a_total{{q=\"x\\\"\\\\\\n\"}} 7\n# TYPE b gauge\n# HELP b B.\nb 1.5\n\
                 # TYPE c histogram\n# HELP c C.\nc_bucket{{v=\"/\",le=\"1.0\"}} 0\n\
                 c_bucket{{v=\"/\",le=\"4.0\"}} 2\n"
            );
            assert!(text.starts_with(&begin), "{text}");
            let finish = format!(
                "c_bucket{{v=\"/\",le=\"+Inf\"}} 2\nc_sum{{v=\"/\"}} 6\nc_count{{v=\"/\"}} 2\n{end}"
            );
            assert!(text.ends_with(&finish), "{text}");
        }
    }
}

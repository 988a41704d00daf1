//! Just enough JSON output for one result line.

#[derive(Default)]
pub(crate) struct Obj {
    s: String,
}

pub(crate) fn escape(v: &str) -> String {
    let mut o = String::with_capacity(v.len());
    for c in v.chars() {
        match c {
            '"' => o.push_str("\\\""),
            '\\' => o.push_str("\\\\"),
            c if (c as u32) < 0x20 => o.extend(format!("\\u{:04x}", c as u32).chars()),
            c => o.push(c),
        }
    }
    o
}

impl Obj {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, k: &str, v: &str) -> Self {
        if !self.s.is_empty() {
            self.s.push(',');
        }
        self.s.extend(["\"", &escape(k), "\":", v]);
        self
    }

    pub(crate) fn str(self, k: &str, v: &str) -> Self {
        let v = format!("\"{}\"", escape(v));
        self.raw(k, &v)
    }

    pub(crate) fn int(self, k: &str, v: u64) -> Self {
        self.raw(k, &v.to_string())
    }

    pub(crate) fn bool(self, k: &str, v: bool) -> Self {
        self.raw(k, if v { "true" } else { "false" })
    }

    pub(crate) fn num(self, k: &str, v: f64) -> Self {
        if !v.is_finite() {
            return self.raw(k, "null");
        }
        let v = if v.abs() >= 1000.0 { format!("{v:.0}") } else { format!("{v:.3}") };
        self.raw(k, &v)
    }

    pub(crate) fn build(self) -> String {
        format!("{{{}}}", self.s)
    }
}

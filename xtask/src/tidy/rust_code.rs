//! Rust source without its comments and literals, so that rules about code don't read prose.

/// `source` with every comment, string and character literal blanked out. Offsets and line breaks
/// stay where they are.
pub(super) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = prose_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn prose_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        at + find(rest, b"\n").unwrap_or(rest.len())
    } else if rest.starts_with(b"/*") {
        at + find(rest, b"*/").map_or(rest.len(), |end| end + 2)
    } else if rest[0] == b'"' {
        at + quoted_len(rest, b'"')
    } else if rest.starts_with(b"br") && !in_word {
        at + raw_string_len(&rest[1..]).map_or(0, |len| len + 1)
    } else if rest[0] == b'r' && !in_word {
        at + raw_string_len(rest).unwrap_or(0)
    } else if rest[0] == b'\'' && is_character(rest) {
        at + quoted_len(rest, b'\'')
    } else {
        at
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Tells a character literal from a lifetime.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(first) if first.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(find(&rest[body..], close.as_bytes()).map_or(rest.len(), |end| body + end + close.len()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn prose_is_blanked() {
        let table = [
            ("a // b\nc", "a     \nc"),
            ("a /* b */ c", "a         c"),
            (r#"a("b\"c") d"#, "a(      ) d"),
            (r##"a(r#"b"c"#) d"##, "a(        ) d"),
            ("fn f<'a>(x: &'a u8) {}", "fn f<'a>(x: &'a u8) {}"),
            (r##"br#"\"b"#c"##, "         c"),
            (r"x == '\'' || y == 'b'", "x ==      || y ==    "),
            ("for r in bar\"x\"", "for r in bar   "),
        ];
        for (source, expected) in table {
            assert_eq!(code_only(source), expected, "{source}");
        }
    }
}

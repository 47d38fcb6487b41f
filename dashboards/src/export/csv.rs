//! CSV by RFC 4180, readable by spreadsheets without surprises.

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front; numbers keep their sign.
fn cell(text: &str, out: &mut String) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let quoted = formula || text.contains([',', '"', '\n', '\r']);
    if quoted {
        out.push('"');
    }
    if formula {
        out.push('\'');
    }
    for c in text.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    if quoted {
        out.push('"');
    }
}

fn line<T: AsRef<str>>(cells: &[T], out: &mut String) {
    for (i, text) in cells.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        cell(text.as_ref(), out);
    }
    out.push_str("\r\n");
}

/// A head and rows of as many cells.
#[must_use]
pub fn write(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    write_part(Some(head), rows)
}

/// The same for a file that is written in parts, of which the first has the head.
#[must_use]
pub fn write_part(head: Option<&[&str]>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::new();
    if let Some(head) = head {
        line(head, &mut out);
    }
    for row in rows {
        line(&row, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_quotes_and_line_breaks_are_quoted() {
        let text = write(&["a", "b"], [vec!["x,y".to_owned(), "say \"hi\"\nthere".to_owned()]].into_iter());
        assert_eq!(text, "a,b\r\n\"x,y\",\"say \"\"hi\"\"\nthere\"\r\n");
    }

    #[test]
    fn a_formula_is_text_and_a_negative_number_is_a_number() {
        let text = write(&["a", "b"], [vec!["=HYPERLINK(1)".to_owned(), "-1.5".to_owned()]].into_iter());
        assert_eq!(text, "a,b\r\n\"'=HYPERLINK(1)\",-1.5\r\n");
    }
}

//! Bounds on the text of a selector, checked before a parser sees it.

use super::SelectorError;

/// Bytes of a selector.
pub const MAX_BYTES: usize = 2048;
/// Levels of brackets, of signs before a value, and of fields behind one.
pub const MAX_DEPTH: usize = 16;
/// Words and signs of a selector.
pub const MAX_TOKENS: usize = 300;

/// What the scanner tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    /// `!` and `-`, which nest when they stand in a row.
    Prefix,
    /// `.`, `?` and `:`: chains of them nest as well.
    Chain,
    And,
    Or,
    Other,
}

/// Checks length, number of tokens and depth.
pub(super) fn check(text: &str) -> Result<(), SelectorError> {
    if text.len() > MAX_BYTES {
        return Err(SelectorError::TooLong { length: text.len() });
    }
    let (mut depth, mut prefixes, mut fields, mut choices) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (count, (_, token, word)) in tokens(text).enumerate() {
        if count >= MAX_TOKENS {
            return Err(SelectorError::TooManyTokens);
        }
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Prefix | Token::Chain | Token::And | Token::Or | Token::Other => {}
        }
        prefixes = if token == Token::Prefix { prefixes + 1 } else { 0 };
        fields = match (token, word) {
            (Token::Chain, ".") => fields + 1,
            (Token::Other, word) if word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => fields,
            _ => 0,
        };
        choices += usize::from(word == "?");
        if depth > MAX_DEPTH || prefixes > MAX_DEPTH || fields > MAX_DEPTH || choices > MAX_DEPTH {
            return Err(SelectorError::TooDeep);
        }
    }
    Ok(())
}

/// The texts between the outermost `&&`; the whole text when there is an outermost `||` or `?`, which bind weaker.
pub(super) fn conjuncts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, token, word) in tokens(text) {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::And if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            Token::Or if depth == 0 => return vec![text],
            Token::Chain if depth == 0 && word == "?" => return vec![text],
            Token::And | Token::Or | Token::Prefix | Token::Chain | Token::Other => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Offset, kind and text of each token. Strings and comments are single tokens, so that a bracket in them is none.
fn tokens(text: &str) -> impl Iterator<Item = (usize, Token, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        let first = rest.chars().next()?;
        let start = at;
        let (token, length) = match first {
            '(' | '[' | '{' => (Token::Open, 1),
            ')' | ']' | '}' => (Token::Close, 1),
            '!' if rest.starts_with("!=") => (Token::Other, 2),
            '!' | '-' => (Token::Prefix, 1),
            '.' | '?' | ':' => (Token::Chain, 1),
            '&' if rest.starts_with("&&") => (Token::And, 2),
            '|' if rest.starts_with("||") => (Token::Or, 2),
            '/' if rest.starts_with("//") => (Token::Other, rest.find('\n').unwrap_or(rest.len())),
            '"' | '\'' => (Token::Other, quoted(rest, first)),
            c if is_word(c) => (Token::Other, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            c => (Token::Other, c.len_utf8()),
        };
        at += length;
        Some((start, token, &text[start..at]))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of the string literal at the start of `rest`; to the end of the text when it is not closed.
fn quoted(rest: &str, quote: char) -> usize {
    let triple = String::from_iter([quote; 3]);
    if rest.starts_with(&triple) {
        return rest[3..].find(&triple).map_or(rest.len(), |end| end + 6);
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        let text = format!("name == \"{}\" // {}", "(".repeat(100), "[".repeat(100));
        assert_eq!(check(&text), Ok(()));
    }

    #[test]
    fn every_way_to_nest_is_bounded() {
        let deep = [
            format!("{}1{}", "(".repeat(17), ")".repeat(17)),
            format!("{}true", "!".repeat(17)),
            format!("1 == {}1", "- ".repeat(17)),
            format!("a{}", ".a".repeat(17)),
            "true ? true : ".repeat(17) + "true",
        ];
        for text in deep {
            assert_eq!(check(&text), Err(SelectorError::TooDeep), "{text}");
        }
        assert_eq!(check(&"1 + ".repeat(200)), Err(SelectorError::TooManyTokens));
        assert_eq!(check(&" ".repeat(2049)), Err(SelectorError::TooLong { length: 2049 }));
    }

    #[test]
    fn only_the_outermost_and_separates() {
        assert_eq!(conjuncts("a && (b && c) && \"&&\" == d"), ["a ", " (b && c) ", " \"&&\" == d"]);
        assert_eq!(conjuncts("a && b || c"), ["a && b || c"]);
        assert_eq!(conjuncts("a ? b && c : d"), ["a ? b && c : d"]);
    }
}

//! A Rust source file as far as the rules need it: its code without comments and literals, cut off at
//! its tests, its functions and how long they are. A scanner, not a parser.

use std::ops::Range;

/// A source file.
pub(super) struct Source {
    /// The path inside the repository.
    pub(super) path: String,
    /// The text of the file.
    pub(super) text: String,
    /// The same, with comments and literals blanked, up to the tests.
    pub(super) code: String,
}

impl Source {
    /// Reads the text of the file at `path`.
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let mut code = blank(&text);
        let parts: Vec<_> = path.split('/').collect();
        if parts.first() == Some(&"src") && parts.iter().any(|p| ["tests", "tests.rs"].contains(p))
        {
            code.clear();
        } else if let Some(tests) = tests_start(&code) {
            code.truncate(tests);
        }
        Self { path, text, code }
    }

    /// The file's module, as in `backend/postgres` of `src/backend/postgres/tap.rs`.
    pub(super) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.rsplit_once('/').map_or(inside.trim_end_matches(".rs"), |(module, _)| module)
    }

    /// The number of lines before the tests.
    pub(super) fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// Returns the lines on which the words of a path stand one after another, `std::env` for one.
    pub(super) fn mentions(&self, path: &str) -> Vec<usize> {
        let whole = |start: usize, end: usize| {
            let before = self.code[..start].chars().next_back();
            let after = self.code[end..].chars().next();
            let joined = before.is_some_and(is_word) || self.code[..start].ends_with('.');
            !joined && !after.is_some_and(is_word)
        };
        let found = self.code.match_indices(path);
        let found = found.filter(|(start, found)| whole(*start, start + found.len()));
        found.map(|(start, _)| self.line_of(start)).collect()
    }

    /// The modules of the crate that the code names, and where: `crate::pool`, `use crate::{sql, error}`.
    pub(super) fn uses(&self) -> Vec<(String, usize)> {
        let mut uses = Vec::new();
        for (start, found) in self.code.match_indices("crate::") {
            if self.code[..start].chars().next_back().is_some_and(is_word) {
                continue;
            }
            let rest = &self.code[start + found.len()..];
            for name in heads(rest) {
                uses.push((name.to_owned(), self.line_of(start)));
            }
        }
        uses
    }

    /// The functions: name, first line, number of lines.
    pub(super) fn functions(&self) -> Vec<(String, usize, usize)> {
        let starts = self.code.match_indices("fn ");
        let starts = starts
            .filter(|(start, _)| !self.code[..*start].chars().next_back().is_some_and(is_word));
        starts
            .filter_map(|(start, _)| {
                let name: String =
                    self.code[start + 3..].chars().take_while(|c| is_word(*c)).collect();
                let body = body(&self.code, start)?;
                let lines = self.code[start..body.end].lines().count();
                Some((name, self.line_of(start), lines))
            })
            .collect()
    }

    fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }
}

/// Returns the start of the block of tests, of any visibility. Tests in a file of their own are no block.
fn tests_start(code: &str) -> Option<usize> {
    const MARK: &str = "\n#[cfg(test)]\n";
    code.match_indices(MARK).map(|(at, _)| at + 1).find(|at| {
        let item = code[*at..].lines().nth(1).unwrap_or_default();
        item.split_whitespace().any(|word| word == "mod") && item.trim_end().ends_with('{')
    })
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first words of what follows `crate::`: one, or those of a group.
fn heads(rest: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let Some(group) = rest.strip_prefix('{') else {
        return vec![&rest[..word(rest)]];
    };
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut item = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let text = group[item..at].trim_start();
                heads.extend(Some(&text[..word(text)]).filter(|head| !head.is_empty()));
                item = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

/// The body of the function that starts at `start`; `None` when it has none.
fn body(code: &str, start: usize) -> Option<Range<usize>> {
    let mut nested = 0;
    let open = code[start..].char_indices().find_map(|(at, c)| {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            _ => {}
        }
        (nested == 0 && (c == '{' || c == ';')).then_some((start + at, c))
    });
    let (open, _) = open.filter(|(_, c)| *c == '{')?;
    let mut depth = 0;
    code[open..].char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(open..open + at + 1)
    })
}

/// Blanks comments and literals; lines stay where they are.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let length = if is_word(previous) && c != '"' { 0 } else { literal(rest) };
        if length == 0 {
            code.push(c);
            previous = c;
            rest = &rest[c.len_utf8()..];
        } else {
            let blanked = rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' });
            code.extend(blanked);
            previous = ' ';
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that `text` starts with; 0 when it starts with code.
fn literal(text: &str) -> usize {
    let end = |found: Option<usize>, mark: usize| found.map_or(text.len(), |at| at + mark);
    if text.starts_with("//") {
        return end(text.find('\n'), 0);
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let prefix = text.find(|c| !"bcr".contains(c)).unwrap_or(0);
    let after = &text[prefix..];
    if prefix > 0 && text[..prefix].ends_with('r') && after.starts_with(['#', '"']) {
        let hashes = after.find(|c| c != '#').unwrap_or(0);
        if after[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = prefix + hashes + 1;
            return end(text[open..].find(&close), open + close.len());
        }
    }
    if after.starts_with('"') && prefix <= 1 {
        return prefix + quoted(after, '"');
    }
    // A lifetime is no literal: a character is closed by a quote.
    let is_char = after.starts_with("'\\") || after.chars().nth(2) == Some('\'');
    if after.starts_with('\'') && prefix <= 1 && is_char { prefix + quoted(after, '\'') } else { 0 }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let close = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    close.map_or(text.len(), |(at, _)| at + 1)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"x \\\" y\", 'z')", "f(        ,    )"),
        ("r#\"a \" b\"# + b'x' + '\\''", "           +      +     "),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("br\"\\\" + c\"d\"", "      +"),
    ] {
        assert_eq!(blank(text).trim_end(), code.trim_end(), "{text}");
    }
}

#[test]
fn uses_are_found_in_groups_and_in_paths() {
    let text = "use crate::{a, b::{c, d}, e};\nlet x = crate::f::g(); // crate::h\nuse crate::i;";
    let source = Source::new("src/x.rs", text);
    let names: Vec<_> =
        source.uses().into_iter().map(|(name, line)| format!("{name}{line}")).collect();
    assert_eq!(names, ["a1", "b1", "e1", "f2", "i3"]);
}

#[test]
fn functions_are_measured_and_tests_are_not() {
    let text = "fn a(x: [u8; 2]) -> u8 {\n  if x { 1 }\n  else { \"}\" }\n}\ntrait T { fn b(); }\n\
                #[cfg(test)]\npub(crate) mod tests {\nfn c() {} }\n";
    let source = Source::new("src/x.rs", text);
    assert_eq!(source.functions(), [("a".to_owned(), 1, 4)]);
    assert_eq!(source.lines(), 5);
}

//! Rust source as words, marks and texts: enough to tell what the code says from what a comment or a text says.

/// What stands at a place, comments and character literals left out.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Token<'a> {
    /// A name or a keyword; also a number.
    Word(&'a str),
    /// What stands between a string literal's quotes, escapes untouched.
    Text(&'a str),
    /// Any other character.
    Mark(char),
}

/// All tokens of a file, each with its line, counted from 1.
pub fn tokens(source: &str) -> Vec<(usize, Token<'_>)> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while let Some(next) = lexer.rest().chars().next() {
        lexer.step(next);
    }
    lexer.found
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    found: Vec<(usize, Token<'a>)>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Go on by so many bytes, and keep count of the lines.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let passed = &self.rest()[..bytes];
        self.at += bytes;
        self.line += passed.matches('\n').count();
        passed
    }

    fn step(&mut self, next: char) {
        let rest = self.rest();
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if next == '"' {
            self.text(1, &quoted_end);
        } else if next == '\'' {
            self.skip(quote(rest));
        } else if is_word(next) {
            self.word();
        } else {
            if !next.is_whitespace() {
                self.found.push((self.line, Token::Mark(next)));
            }
            self.skip(next.len_utf8());
        }
    }

    /// A name, or the letters before a literal's quotes.
    fn word(&mut self) {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let hashes = after.len() - after.trim_start_matches('#').len();
        let quoted = after[hashes..].starts_with('"');
        match word {
            "r" | "br" | "cr" if quoted => {
                let closing = format!("\"{}", "#".repeat(hashes));
                self.text(length + hashes + 1, &|text: &str| {
                    text.find(&closing).map(|end| (end, closing.len()))
                });
            }
            "b" | "c" if quoted && hashes == 0 => self.text(length + 1, &quoted_end),
            _ => {
                self.found.push((self.line, Token::Word(word)));
                self.skip(length);
            }
        }
    }

    /// A literal's text after `opening` bytes; `end` finds its length and that of the closing quotes.
    fn text(&mut self, opening: usize, end: &dyn Fn(&str) -> Option<(usize, usize)>) {
        let line = self.line;
        self.skip(opening);
        let (length, closing) = end(self.rest()).unwrap_or((self.rest().len(), 0));
        let text = self.skip(length);
        self.skip(closing);
        self.found.push((line, Token::Text(text)));
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where an ordinary string literal ends.
fn quoted_end(text: &str) -> Option<(usize, usize)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((at, 1)),
            _ => {}
        }
    }
    None
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (at, depth) = (at + 2, depth + 1),
            Some(b"*/") => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a character literal, or of a lifetime's mark alone.
fn quote(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    match inside.next() {
        // The escaped character may itself be a quote.
        Some((_, '\\')) => rest[1..]
            .char_indices()
            .skip(2)
            .find(|(_, c)| *c == '\'')
            .map_or(rest.len(), |(at, _)| at + 2),
        Some(_) => match inside.next() {
            Some((at, '\'')) => at + 2,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source)
            .into_iter()
            .filter_map(|(_, token)| match token {
                Token::Text(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    fn words(source: &str) -> Vec<&str> {
        tokens(source)
            .into_iter()
            .filter_map(|(_, token)| match token {
                Token::Word(word) => Some(word),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn finds_every_kind_of_text() {
        let source =
            r####"f("one", r"two\", r#"th"ree"#, b"four", br##"fi"#ve"##, c"six", "a\"b")"####;
        assert_eq!(
            texts(source),
            [
                "one", "two\\", "th\"ree", "four", "fi\"#ve", "six", "a\\\"b"
            ]
        );
    }

    #[test]
    fn comments_and_characters_are_passed_over() {
        let source = "a // \"no\"\n/* \"no\" /* deep */ \"no\" */ b('\"', '\\'', '\\u{22}', 'ü') c";
        assert_eq!(texts(source), Vec::<&str>::new());
        assert_eq!(words(source), ["a", "b", "c"]);
    }

    #[test]
    fn lifetimes_and_raw_names_do_not_open_a_text() {
        let source = "fn f<'a>(r#type: &'a str) -> &'static str { \"text\" }";
        assert_eq!(texts(source), ["text"]);
        assert!(words(source).contains(&"type"));
    }

    #[test]
    fn lines_are_those_where_a_token_starts() {
        let source = "one\n\"a\nb\"\n/* c\n */ two";
        let lines: Vec<usize> = tokens(source).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 5]);
    }
}

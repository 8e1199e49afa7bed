//! `If-None-Match` (RFC 9110, section 13.1.2): what the asker has already.

/// A list of tags, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    Any,
    /// Without `W/`: this header compares weakly.
    Tags(Vec<String>),
}

impl IfNoneMatch {
    /// Reads the header's values. What cannot be read matches nothing, as if it had not been sent.
    #[must_use]
    pub fn parse<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut tags = Vec::new();
        for value in values {
            let mut rest = value.trim();
            if rest == "*" {
                return IfNoneMatch::Any;
            }
            while !rest.is_empty() {
                let bare = rest.strip_prefix("W/").unwrap_or(rest);
                let Some((tag, behind)) = bare
                    .strip_prefix('"')
                    .and_then(|inner| inner.split_once('"'))
                else {
                    break;
                };
                tags.push(format!("\"{tag}\""));
                rest = behind.trim_start().trim_start_matches(',').trim_start();
            }
        }
        IfNoneMatch::Tags(tags)
    }

    #[must_use]
    pub fn has(&self, etag: &str) -> bool {
        match self {
            IfNoneMatch::Any => true,
            IfNoneMatch::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_or_several_or_any() {
        let has = |value: &str| IfNoneMatch::parse([value]).has("\"2-ab\"");
        for yes in [
            "\"2-ab\"",
            "W/\"2-ab\"",
            "\"1-aa\", \"2-ab\"",
            "\"1,2\",W/\"2-ab\" ",
            "*",
        ] {
            assert!(has(yes), "{yes}");
        }
        for no in ["", "2-ab", "\"2-a\"", "\"2-AB\"", "\"2-ab", "x\"2-ab\""] {
            assert!(!has(no), "{no}");
        }
        assert!(IfNoneMatch::parse(["\"1\"", "\"2-ab\""]).has("\"2-ab\""));
    }
}

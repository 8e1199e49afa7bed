//! A statement as its engine takes it, and which argument stands where.

use std::{fmt, sync::Arc};

use crate::dialect::Kind;

/// A statement with the engine's placeholders in it. Made once, when a store is built.
#[derive(Clone, Debug)]
pub struct Sql {
    pub(crate) text: Arc<str>,
    /// What each placeholder is, in their order; `None` if they are the arguments as they come.
    pub(crate) slots: Option<Arc<[Slot]>>,
}

/// As the engine gets it, without its arguments.
impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What one mark of a statement binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Which of the arguments, from 0.
    pub arg: usize,
    /// The columns into which a row set is split, on an engine that takes it as arrays.
    pub columns: Option<Arc<[Kind]>>,
    /// The row set has one column, and is a list of plain values.
    pub flat: bool,
}

/// How an engine writes placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholders {
    /// `?`, in the order of the text.
    Bare,
    /// `$n`; one that was bound can be named again.
    Numbered,
}

/// Reads the marks of a statement: `?` for the next argument or `?n` for the n-th, and behind it,
/// where [`crate::JsonRows`] put it, the columns of a row set in braces.
pub(crate) fn parse(text: &str, placeholders: Placeholders) -> Sql {
    let mut out = String::with_capacity(text.len() + 16);
    let mut slots: Vec<Slot> = Vec::new();
    // Where the placeholders of each slot begin, for engines that can name them again.
    let mut starts: Vec<usize> = Vec::new();
    let mut next_placeholder = 1;
    let mut next_arg = 0;
    let mut rest = text;
    while let Some(at) = rest.find('?') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let arg = match rest[..digits].parse::<usize>() {
            Ok(number) => number.saturating_sub(1),
            Err(_) => {
                next_arg += 1;
                next_arg - 1
            }
        };
        rest = &rest[digits..];
        let mut slot = Slot {
            arg,
            columns: None,
            flat: false,
        };
        if let Some(inner) = rest.strip_prefix('{')
            && let Some(end) = inner.find('}')
        {
            let marks = &inner[..end];
            slot.flat = marks.starts_with('*');
            slot.columns = Some(marks.chars().filter_map(Kind::of_mark).collect());
            rest = &inner[end + 1..];
        }
        match placeholders {
            Placeholders::Bare => {
                out.push('?');
                slots.push(slot);
            }
            Placeholders::Numbered => {
                let known = slots.iter().position(|known| *known == slot);
                let start = match known {
                    Some(place) => starts[place],
                    None => {
                        let start = next_placeholder;
                        next_placeholder += slot.columns.as_ref().map_or(1, |all| all.len());
                        starts.push(start);
                        slots.push(slot.clone());
                        start
                    }
                };
                match &slot.columns {
                    None => out.push_str(&format!("${start}")),
                    Some(columns) => {
                        let arrays: Vec<_> = columns
                            .iter()
                            .enumerate()
                            .map(|(place, kind)| format!("${}{}", start + place, kind.array_cast()))
                            .collect();
                        out.push_str(&arrays.join(", "));
                    }
                }
            }
        }
    }
    out.push_str(rest);
    let plain = slots
        .iter()
        .enumerate()
        .all(|(place, slot)| slot.arg == place && slot.columns.is_none());
    Sql {
        text: out.into(),
        slots: (!plain).then(|| slots.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sql: &Sql) -> Vec<usize> {
        sql.slots
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|slot| slot.arg)
            .collect()
    }

    #[test]
    fn bare_marks_are_the_arguments_in_order() {
        let text = "SELECT ? FROM t WHERE a = ? AND b = ?";
        let sql = parse(text, Placeholders::Bare);
        assert_eq!((&*sql.text, sql.slots.is_none()), (text, true));
        let sql = parse(text, Placeholders::Numbered);
        assert_eq!(&*sql.text, "SELECT $1 FROM t WHERE a = $2 AND b = $3");
        assert!(sql.slots.is_none());
    }

    #[test]
    fn numbered_marks_may_come_in_any_order_and_again() {
        let text = "UPDATE t SET a = ?2, b = ?2 WHERE c = ?1";
        let sql = parse(text, Placeholders::Bare);
        assert_eq!(&*sql.text, "UPDATE t SET a = ?, b = ? WHERE c = ?");
        assert_eq!(args(&sql), [1, 1, 0]);
        let sql = parse(text, Placeholders::Numbered);
        assert_eq!(&*sql.text, "UPDATE t SET a = $1, b = $1 WHERE c = $2");
        assert_eq!(args(&sql), [1, 0]);
    }

    #[test]
    fn a_row_set_becomes_an_array_for_each_column() {
        let text = "SELECT * FROM unnest(?{ti}) r WHERE a = ?";
        let sql = parse(text, Placeholders::Numbered);
        assert_eq!(
            &*sql.text,
            "SELECT * FROM unnest($1::text[], $2::bigint[]) r WHERE a = $3"
        );
        let slots = sql.slots.unwrap();
        assert_eq!(
            slots[0].columns.as_deref(),
            Some([Kind::Text, Kind::Int].as_slice())
        );
        assert_eq!((slots[1].arg, slots[1].columns.is_none()), (1, true));
    }
}

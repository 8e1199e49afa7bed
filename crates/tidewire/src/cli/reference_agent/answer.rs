//! What the reference agent does with an input: one call of a tool, and words about it.

use serde_json::{Value, json};

use super::calculator;

const CALCULATOR: &str = "calculator";
const WORD_COUNT: &str = "word_count";
/// Characters of the input that are said again.
const MOST_QUOTED: usize = 200;

pub(super) struct Plan {
    pub tool: &'static str,
    pub args: Value,
    pub result: Result<Value, &'static str>,
    pub text: String,
}

impl Plan {
    pub fn of(input: &Value) -> Self {
        let asked = words(input);
        let count = asked.split_whitespace().count();
        let about = format!(
            "You said “{}”, which is {count} {}.",
            quoted(&asked),
            if count == 1 { "word" } else { "words" }
        );
        let expression = match input["tool"].as_str() {
            Some(CALCULATOR) => Some(input["expression"].as_str().unwrap_or_default()),
            Some(_) => None,
            None => calculator::find(&asked),
        };
        let Some(expression) = expression else {
            return Plan {
                tool: WORD_COUNT,
                args: json!({ "text": asked }),
                result: Ok(json!(count)),
                text: about,
            };
        };
        let result = calculator::evaluate(expression);
        let result = result.unwrap_or(Err("it is no sum of + - * / and parentheses"));
        let found = match &result {
            Ok(value) => format!("{expression} = {value}."),
            Err(why) => format!("I cannot work out “{}”: {why}.", quoted(expression)),
        };
        Plan {
            tool: CALCULATOR,
            args: json!({ "expression": expression }),
            result,
            text: format!("{about} {found}"),
        }
    }
}

/// What an input says: itself if it is text, the text in it if it has one, else its JSON.
fn words(input: &Value) -> String {
    let named = ["text", "message", "prompt"];
    let text = input
        .as_str()
        .or_else(|| named.iter().find_map(|name| input[*name].as_str()));
    text.map_or_else(|| input.to_string(), str::to_owned)
}

fn quoted(text: &str) -> String {
    crate::cli::output::shorten(text.trim(), MOST_QUOTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_answered_with_a_tool() {
        let plan = Plan::of(&json!("good morning"));
        assert_eq!((plan.tool, plan.result), (WORD_COUNT, Ok(json!(2))));
        assert_eq!(plan.text, "You said “good morning”, which is 2 words.");
        for input in [json!(null), json!({"n": [1]}), json!({"tool": "browser"})] {
            assert_eq!(Plan::of(&input).tool, WORD_COUNT, "{input}");
        }
    }

    #[test]
    fn sums_are_worked_out_or_it_is_said_why_not() {
        let plan = Plan::of(&json!({"text": "what is 6 * 7?"}));
        assert_eq!((plan.tool, plan.result), (CALCULATOR, Ok(json!(42))));
        assert!(plan.text.ends_with(" 6 * 7 = 42."), "{}", plan.text);
        let plan = Plan::of(&json!({"tool": "calculator", "expression": "1 / 0"}));
        let why = plan.result.unwrap_err();
        assert!(
            why.contains("zero") && plan.text.contains(why),
            "{why}: {}",
            plan.text
        );
    }
}

//! How many triggers deep an event is: what a trigger's endpoint sends back with an event, so that
//! triggers that set each other off come to an end.

use http::HeaderMap;
use tidewire_core::Problem;

/// The header that says it, on deliveries and on what comes back.
pub const DEPTH_HEADER: &str = "x-tidewire-depth";
/// Triggers that may set each other off in a row.
pub const MAX_DEPTH: u32 = 16;

/// What a request says; 0 if it says nothing.
pub fn depth(headers: &HeaderMap) -> Result<u32, Problem> {
    let mut values = headers.get_all(DEPTH_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(0);
    };
    let wrong = |detail: String| Problem::invalid(DEPTH_HEADER, detail);
    if values.next().is_some() {
        return Err(wrong("was sent more than once".to_owned()));
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let depth = Some(&text)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<u32>().ok())
        .ok_or_else(|| {
            wrong(format!(
                "must be a number from 0 to {}, it is `{}`",
                MAX_DEPTH - 1,
                tidewire_core::problem::clip(&text)
            ))
        })?;
    if depth >= MAX_DEPTH {
        return Err(wrong(format!(
            "is {depth}, and {MAX_DEPTH} triggers in a row are the most: does a trigger's endpoint set it off again?"
        )));
    }
    Ok(depth)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> Result<u32, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(DEPTH_HEADER, HeaderValue::from_static(value));
        }
        depth(&headers)
    }

    #[test]
    fn a_depth_is_a_number_below_the_most() {
        assert_eq!(of(&[]).unwrap(), 0);
        assert_eq!(of(&["0"]).unwrap(), 0);
        assert_eq!(of(&["15"]).unwrap(), 15);
        for bad in ["16", "17", "99999999999", "-1", "+1", "1.0", "", "x", " 1"] {
            let problem = of(&[bad]).unwrap_err();
            assert_eq!(problem.errors[0].pointer, DEPTH_HEADER, "{bad}");
        }
        assert!(of(&["1", "1"]).is_err());
    }
}

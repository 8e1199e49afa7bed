//! What forms send, and the cookies beside the session.

use axum::extract::{FromRequestParts, Request};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use subtle::ConstantTimeEq as _;
use tidewire_core::{Kind, Problem};
use tidewire_http::{ApiError, body, media_type};

/// The field of every form that proves it to be of ours.
pub(crate) const TOKEN: &str = "form_token";
/// The cookie that says on the next page what a form has done.
pub(crate) const SAID: &str = "tidewire-said";

/// A payload of the largest size, with every character escaped.
const MOST: usize = 1 << 20;

/// The fields of a form that passed the door.
#[derive(Clone, Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub async fn read(request: Request) -> Result<Self, Problem> {
        media_type(request.headers(), &["application/x-www-form-urlencoded"])?;
        let bytes = body(request, MOST).await?;
        let fields = form_urlencoded::parse(&bytes);
        Ok(Form(fields.into_owned().collect()))
    }

    /// What a field holds; nothing if it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    pub fn has_token(&self, token: &str) -> bool {
        let sent = self.get(TOKEN).unwrap_or_default();
        sent.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let form = parts.extensions.remove::<Form>();
        form.ok_or_else(|| Problem::new(Kind::Internal, "a form came by no door").into())
    }
}

/// A cookie's value.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// Sets a cookie that scripts do not see and other sites' pages do not send. Without an age it goes
/// with the browser's window.
pub(crate) fn set_cookie(
    name: &str,
    value: &str,
    age: Option<u64>,
    secure: bool,
) -> Result<HeaderValue, Problem> {
    let age = age.map(|age| format!("; Max-Age={age}"));
    let text = format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Strict{}{}",
        age.unwrap_or_default(),
        if secure { "; Secure" } else { "" }
    );
    HeaderValue::from_str(&text).map_err(|_| {
        Problem::new(
            Kind::Internal,
            "a cookie has a character that none may have",
        )
    })
}

/// Forgets what was said.
pub(crate) fn unsay() -> HeaderValue {
    HeaderValue::from_static("tidewire-said=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=1; tidewire-said=retried;b=2"),
        );
        assert_eq!(cookie(&headers, SAID).as_deref(), Some("retried"));
        assert_eq!(cookie(&headers, "said"), None);
        assert_eq!(cookie(&HeaderMap::new(), "a"), None);
    }
}

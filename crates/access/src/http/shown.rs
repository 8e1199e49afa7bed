//! What a request's headers show of who it is.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{Error, Result, authenticator::Shown};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");

pub(super) fn shown(headers: &HeaderMap) -> Result<Shown<'_>> {
    let bearer = one(headers, &header::AUTHORIZATION, BEARER)?
        .map(bearer)
        .transpose()?;
    let api_key = one(headers, &X_API_KEY, API_KEY)?
        .map(api_key)
        .transpose()?;
    let key = match (bearer, api_key) {
        (Some(bearer), Some(api_key)) if bearer != api_key => return Err(Error::TwoKeys),
        (bearer, api_key) => bearer.or(api_key),
    };
    Ok(Shown {
        key,
        tenant: tenant(headers)?,
    })
}

const BEARER: Error =
    Error::MalformedKey("the header `Authorization` holds no key: send it once, as `Bearer KEY`");
const API_KEY: Error =
    Error::MalformedKey("the header `X-API-Key` holds no key: send it once, as the key alone");

/// The one value of a header that may come once.
fn one<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    otherwise: Error,
) -> Result<Option<&'h HeaderValue>> {
    let Some(first) = headers.get(name) else {
        return Ok(None);
    };
    match headers.get_all(name).iter().nth(1) {
        None => Ok(Some(first)),
        Some(_) => Err(otherwise),
    }
}

fn bearer(value: &HeaderValue) -> Result<&str> {
    let text = value.to_str().map_err(|_| BEARER)?;
    match text.trim().split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => token(key).ok_or(BEARER),
        _ => Err(BEARER),
    }
}

fn api_key(value: &HeaderValue) -> Result<&str> {
    value.to_str().ok().and_then(token).ok_or(API_KEY)
}

fn token(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

fn tenant(headers: &HeaderMap) -> Result<Option<&str>> {
    let wrong = || Error::Invalid {
        pointer: "X-Tenant",
        detail: "must be sent once and hold the id of a tenant".to_owned(),
    };
    match one(headers, &X_TENANT, wrong())? {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(token)
            .map(Some)
            .ok_or_else(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        for lines in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bEARER   k ")],
            &[("x-api-key", "k")],
            &[("x-api-key", "k"), ("authorization", "Bearer k")],
        ] {
            let headers = headers(lines);
            assert_eq!(shown(&headers).unwrap().key, Some("k"), "{lines:?}");
        }
        assert_eq!(shown(&HeaderMap::new()).unwrap().key, None);
    }

    #[test]
    fn what_holds_no_key_is_malformed() {
        for lines in [
            &[("authorization", "k")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Basic dTpw")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("x-api-key", "")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
        ] {
            let headers = headers(lines);
            assert!(
                matches!(shown(&headers), Err(Error::MalformedKey(_))),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn two_different_keys_are_refused() {
        let headers = headers(&[("authorization", "Bearer a"), ("x-api-key", "b")]);
        assert!(matches!(shown(&headers), Err(Error::TwoKeys)));
    }

    #[test]
    fn a_tenant_comes_once() {
        assert_eq!(
            shown(&headers(&[("x-tenant", "t")])).unwrap().tenant,
            Some("t")
        );
        for lines in [
            &[("x-tenant", "")][..],
            &[("x-tenant", "a"), ("x-tenant", "b")],
        ] {
            assert!(
                matches!(shown(&headers(lines)), Err(Error::Invalid { .. })),
                "{lines:?}"
            );
        }
    }
}

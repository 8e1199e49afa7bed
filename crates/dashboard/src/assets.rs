//! The few files that pages need, from inside the binary. Each is named by what is in it, so a browser
//! keeps it for good and a new release is another name.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tidewire_core::Problem;
use tidewire_http::ApiError;

pub(crate) struct Asset {
    name: String,
    tag: String,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// The style of all pages.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../assets/style.css");
    Asset::new("style", "css", "text/css; charset=utf-8", bytes)
});
/// What makes pages live.
pub(crate) static PAGE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../assets/page.js");
    Asset::new("page", "js", "text/javascript; charset=utf-8", bytes)
});
pub(crate) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", bytes)
});

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = Sha256::digest(bytes);
        let hash = hex::encode(&hash[..8]);
        Asset {
            name: format!("{stem}-{hash}.{extension}"),
            tag: format!("\"{hash}\""),
            media_type,
            bytes,
        }
    }

    pub fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

pub(crate) async fn serve(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let all = [&*STYLE, &*PAGE, &*ICON];
    let asset = all.into_iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Problem::not_found("file", &name))?;
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|tag| tag == asset.tag.as_str());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Bytes::from_static(asset.bytes).into_response()
    };
    let tag = HeaderValue::from_str(&asset.tag).unwrap_or(HeaderValue::from_static("\"\""));
    let answer = response.headers_mut();
    answer.insert(header::ETAG, tag);
    answer.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(asset.media_type),
    );
    answer.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    answer.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

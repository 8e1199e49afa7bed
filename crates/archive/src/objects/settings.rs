//! Which folder or bucket, and how it is spoken to.

use std::{fmt, path::PathBuf};

use object_store::path::Path;
use url::Url;

/// A place for objects, as it is configured.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectsSettings {
    /// `file:///FOLDER` or `s3://BUCKET[/PREFIX]`.
    pub url: String,
    /// Of what speaks S3, `http://HOST:PORT` or `https://…`; Amazon's own without it.
    pub endpoint: Option<String>,
    pub region: String,
    /// Both, or neither: then the machine's role is used, which only Amazon's have.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    /// The bucket is named in the path, as S3 look-alikes want it, and not in the host's name.
    pub path_style: bool,
}

/// What a URL names.
pub(super) enum Place {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: Path },
}

const FORM: &str = "is neither file:///FOLDER nor s3://BUCKET[/PREFIX]";

impl ObjectsSettings {
    /// This place, with what is usual for the rest.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        ObjectsSettings {
            url: url.into(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            access_key_id: None,
            secret_access_key: None,
            path_style: true,
        }
    }

    /// The same, of a URL that is looked at first; what is wrong with it goes on from it.
    pub fn parse(url: &str) -> Result<Self, String> {
        read(url)?;
        Ok(ObjectsSettings::new(url))
    }

    /// A folder; a relative one is below the working folder.
    pub fn folder(path: &std::path::Path) -> Result<Self, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let url = Url::from_file_path(path).map_err(|()| "is no folder's name")?;
        Ok(ObjectsSettings::new(url))
    }

    /// What makes no sense about these settings taken together.
    pub fn check(&self) -> Result<(), String> {
        self.place().map(drop)
    }

    /// Checks them all, and gives what the URL names.
    pub(super) fn place(&self) -> Result<Place, String> {
        let place = read(&self.url).map_err(|why| format!("`{}` {why}", self.url))?;
        if matches!(place, Place::Folder(_)) {
            return Ok(place);
        }
        if let Some(endpoint) = &self.endpoint {
            let url = Url::parse(endpoint).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            // It is not repeated: it may hold a password.
            url.ok_or("the S3 endpoint is neither http://HOST:PORT nor https://HOST:PORT")?;
        }
        let keys = (&self.access_key_id, &self.secret_access_key);
        match (&self.endpoint, keys) {
            (_, (Some(_), None)) => {
                Err("an S3 access key id is set without its secret access key".to_owned())
            }
            (_, (None, Some(_))) => {
                Err("an S3 secret access key is set without its access key id".to_owned())
            }
            (Some(_), (None, None)) => Err(
                "an S3 endpoint is set without an access key id and its secret access key"
                    .to_owned(),
            ),
            _ => Ok(place),
        }
    }
}

impl fmt::Display for ObjectsSettings {
    /// Where it is, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.endpoint {
            Some(endpoint) if !self.url.starts_with("file:") => write!(f, " at {endpoint}"),
            _ => Ok(()),
        }
    }
}

fn read(text: &str) -> Result<Place, String> {
    if text.starts_with("file:///") {
        let url = Url::parse(text).map_err(|_| FORM)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{FORM}: write ? as %3F and # as %23"));
        }
        let folder = url.to_file_path().map_err(|()| FORM)?;
        return Ok(Place::Folder(folder));
    }
    let rest = text.strip_prefix("s3://").ok_or(FORM)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(is_known) {
        return Err(format!("{FORM}: `{bucket}` is no name of a bucket"));
    }
    let prefix = Path::parse(prefix.trim_end_matches('/'))
        .map_err(|_| format!("{FORM}: `{prefix}` cannot be a prefix"))?;
    Ok(Place::Bucket {
        bucket: bucket.to_owned(),
        prefix,
    })
}

impl fmt::Debug for ObjectsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectsSettings")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder_or_a_bucket() {
        let Ok(Place::Folder(folder)) = read("file:///var/lib/my%20archives/") else {
            panic!("a folder");
        };
        assert_eq!(folder, PathBuf::from("/var/lib/my archives/"));
        for (url, prefix) in [("s3://b", ""), ("s3://b/", ""), ("s3://b/a/c/", "a/c")] {
            let Ok(Place::Bucket {
                bucket,
                prefix: read,
            }) = read(url)
            else {
                panic!("a bucket: {url}");
            };
            assert_eq!((&*bucket, read.as_ref()), ("b", prefix));
        }
        for wrong in [
            "",
            "/var/lib",
            "file:archives",
            "file://archives",
            "file:///a?b",
            "s3://",
            "s3:///a",
            "s3://b/../c",
            "s3://b/a//c",
            "s3://k:s@b",
            "gs://b",
            "memory:///",
        ] {
            let why = ObjectsSettings::parse(wrong).map(|_| ()).expect_err(wrong);
            assert!(why.starts_with(FORM), "{why}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_and_secrets_are_not_shown() {
        let with = |change: fn(&mut ObjectsSettings)| {
            let mut settings = ObjectsSettings::new("s3://b/p");
            change(&mut settings);
            settings.place().map(|_| ())
        };
        assert_eq!(with(|_| ()), Ok(()));
        let missing = with(|it| it.endpoint = Some("http://127.0.0.1:8333".to_owned()));
        assert!(missing.unwrap_err().contains("without an access key id"));
        let half = with(|it| it.access_key_id = Some("id".to_owned()));
        assert!(half.unwrap_err().contains("without its secret"));
        let login = with(|it| it.endpoint = Some("http://me:hidden@host".to_owned()));
        assert!(!login.unwrap_err().contains("hidden"));

        let mut settings = ObjectsSettings::new("s3://b");
        settings.access_key_id = Some("AKIA1".to_owned());
        settings.secret_access_key = Some("hidden".to_owned());
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("AKIA1") && !shown.contains("hidden"),
            "{shown}"
        );
    }
}

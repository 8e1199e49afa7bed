//! Where archives are kept, and what becomes one.

use std::path::{Path, PathBuf};

use tidewire_archive::{ArchiveSettings, ObjectsSettings};
use tidewire_core::duration;
use tidewire_db::StoreUrl;

use super::{
    Bad, Origin, Store, Values,
    typed::{need, within, yes},
};

const S: std::time::Duration = std::time::Duration::from_secs(1);
const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
/// The variable whose being set says that the source design's are meant.
const S3_ENDPOINT: &str = "S3_ENDPOINT";
/// The key that goes with it, where none is set.
const USUAL_KEY: &str = "eventide";

/// What concerns archives.
#[derive(Clone, Debug)]
pub struct Archives {
    pub objects: ObjectsSettings,
    pub settings: ArchiveSettings,
}

impl Archives {
    pub(super) fn new(values: &Values, store: &Store) -> Result<Self, Bad> {
        let span = |name, least| values.read(name, |text| within(text, least, 36_500 * DAY));
        let settings = ArchiveSettings {
            every: need(
                values.read("archive-every", |text| within(text, 10 * S, 30 * DAY))?,
                "archive-every",
            )?,
            older_than: span("archive-older-than", S)?,
            trim: values.read("archive-trim", yes)?.unwrap_or(false),
            ..ArchiveSettings::default()
        };
        if settings.trim && settings.older_than.is_none() {
            return Err(Bad(format!(
                "--archive-trim `true`: says what becomes of what is archived, and without --archive-older-than nothing is: set that too, such as {}",
                duration::format(30 * DAY)
            )));
        }
        Ok(Archives {
            objects: objects(values, store)?,
            settings,
        })
    }
}

fn objects(values: &Values, store: &Store) -> Result<ObjectsSettings, Bad> {
    let named = values.read("objects", ObjectsSettings::parse)?;
    let text = |name| values.read(name, |text| Ok::<_, String>(text.to_owned()));
    let mut settings = match named {
        Some(settings) => settings,
        None => {
            let folder = folder(values, store);
            ObjectsSettings::folder(&folder)
                .map_err(|why| Bad(format!("--data-dir: `{}` {why}", folder.display())))?
        }
    };
    settings.endpoint = text("s3-endpoint")?;
    if let Some(region) = text("s3-region")? {
        settings.region = region;
    }
    settings.access_key_id = text("s3-access-key-id")?;
    settings.secret_access_key = text("s3-secret-access-key")?;
    settings.path_style = values.read("s3-path-style", yes)?.unwrap_or(true);
    if values.origin("objects") == Some(&Origin::Variable(S3_ENDPOINT.to_owned())) {
        for key in [&mut settings.access_key_id, &mut settings.secret_access_key] {
            key.get_or_insert_with(|| USUAL_KEY.to_owned());
        }
    }
    settings
        .check()
        .map_err(|why| Bad(format!("--objects {why}")))?;
    Ok(settings)
}

/// Each database has a folder of its own: what another's archives do not know would look like
/// nobody's.
fn folder(values: &Values, store: &Store) -> PathBuf {
    let data = Path::new(values.text("data-dir").unwrap_or("tidewire-data"));
    match &store.url {
        StoreUrl::Sqlite(file) if *file != data.join("tidewire.db") => {
            let mut name = file.as_os_str().to_owned();
            name.push("-objects");
            name.into()
        }
        _ => data.join("objects"),
    }
}

/// From the variables of the source design.
pub(super) fn from_s3_variables(values: &[String]) -> String {
    let [_, bucket, prefix] = values else {
        return String::new();
    };
    format!("s3://{bucket}/{prefix}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    fn config(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
    ) -> Result<Archives, String> {
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned()));
        let variable = |asked: &str| {
            let found = variables.iter().find(|(name, _)| *name == asked);
            found.map(|(_, text)| (*text).to_owned())
        };
        let values = Values::gather(&BTreeMap::from_iter(flags), variable, None);
        let config = values.and_then(|values| Config::new(&values));
        config
            .map(|config| config.archives)
            .map_err(|bad| bad.to_string())
    }

    #[test]
    fn objects_are_beside_the_data_where_nothing_is_said() {
        let url = |flags| config(flags, &[]).unwrap().objects.url;
        assert!(url(&[]).starts_with("file:///"));
        assert!(url(&[]).ends_with("/tidewire-data/objects"));
        assert_eq!(
            url(&[("data-dir", "/var/lib/t w")]),
            "file:///var/lib/t%20w/objects"
        );
        assert_eq!(url(&[("db", "/tmp/a.db")]), "file:///tmp/a.db-objects");
        let server = [("data-dir", "/data"), ("database-url", "postgres://db/d")];
        assert_eq!(url(&server), "file:///data/objects");
        assert_eq!(url(&[("objects", "file:///o")]), "file:///o");
    }

    #[test]
    fn the_variables_of_the_source_design_name_a_bucket() {
        let all = [
            ("S3_ENDPOINT", "http://minio:8333"),
            ("S3_BUCKET", "archive"),
            ("S3_PREFIX", "tide"),
            ("S3_ACCESS_KEY_ID", "me"),
            ("S3_SECRET_ACCESS_KEY", "hunter2"),
            ("S3_USE_PATH_STYLE", "0"),
        ];
        let objects = config(&[], &all).unwrap().objects;
        assert_eq!(objects.url, "s3://archive/tide");
        assert_eq!(objects.endpoint.as_deref(), Some("http://minio:8333"));
        assert_eq!(objects.access_key_id.as_deref(), Some("me"));
        assert!(!objects.path_style && !format!("{objects:?}").contains("hunter2"));
        let objects = config(&[], &all[..1]).unwrap().objects;
        assert_eq!(objects.url, "s3://uploads/eventide");
        assert_eq!(objects.secret_access_key.as_deref(), Some("eventide"));
        assert!(objects.path_style);
        // Without the first of them nothing is meant.
        assert!(
            config(&[], &all[1..])
                .unwrap()
                .objects
                .url
                .starts_with("file:")
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (flags, says) in [
            (&[("objects", "ftp://x")][..], "--objects `ftp://x`"),
            (&[("archive-every", "1s")], "--archive-every `1s`"),
            (
                &[("archive-older-than", "old")],
                "--archive-older-than `old`",
            ),
            (&[("archive-trim", "maybe")], "--archive-trim `maybe`"),
            (&[("archive-trim", "true")], "--archive-older-than"),
            (
                &[("objects", "s3://b"), ("s3-endpoint", "http://h:1")],
                "access key id",
            ),
            (&[("objects", "s3://b"), ("s3-endpoint", "h:1")], "endpoint"),
        ] {
            let bad = config(flags, &[]).unwrap_err();
            assert!(bad.contains(says) && !bad.contains('\n'), "{bad}");
        }
        let fine = [("archive-older-than", "30d"), ("archive-trim", "true")];
        let settings = config(&fine, &[]).unwrap().settings;
        assert!(settings.trim && settings.older_than == Some(30 * DAY));
    }
}

//! The state file. It is written beside its place, synced and renamed, so that it is there whole in
//! its old form or in its new one. One that is torn or somebody else's all the same (another disk,
//! another program) is set aside and said, and never overwritten.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tidewire_core::Time;
use tokio_util::sync::CancellationToken;

use super::{Inner, kept::Kept};

const FORMAT: &str = "tidewire-fleet-agent/1";
/// Files fail for reasons that time alone rarely mends: a full disk, a missing right.
const RETRY: Duration = Duration::from_secs(5);

/// How the file is, as the state shows it.
#[derive(Clone, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct FileState {
    /// What is wrong with it.
    #[schema(required)]
    error: Option<String>,
    /// Where one went that could not be read.
    #[schema(required)]
    set_aside: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    /// Of the bytes of `state`.
    sha256: String,
    state: Box<RawValue>,
}

pub(super) enum Loaded {
    Nothing,
    Kept(Box<Kept>),
    /// It is at this place now, for this reason.
    SetAside(PathBuf, String),
}

impl FileState {
    pub fn check(&self) -> Result<(), String> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl Inner {
    /// Reads the file, again and again until it can be read: without it the agent would not know who
    /// it is, and would become another one.
    pub(super) async fn load(&self) {
        loop {
            let (path, now) = (self.options.state.clone(), self.clock.now());
            match blocking(move || load(&path, now)).await {
                Ok(Loaded::Nothing) => return,
                Ok(Loaded::Kept(kept)) => {
                    let mut state = self.state();
                    tracing::info!(
                        agent_id = kept.agent_id,
                        version = kept.running.as_ref().map(|held| held.version),
                        "goes on from the state file"
                    );
                    state.kept = *kept;
                    state.file.error = None;
                    return;
                }
                Ok(Loaded::SetAside(place, why)) => {
                    let place = place.display().to_string();
                    tracing::warn!(
                        set_aside = place,
                        why,
                        "the state file cannot be used: it starts anew"
                    );
                    let mut state = self.state();
                    state.file.set_aside = Some(place);
                    state.file.error = None;
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the state file cannot be read, it will be tried again");
                    self.state().file.error = Some(format!("cannot be read: {error}"));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Writes what is to be kept, whenever it has changed.
    pub(super) async fn keep_file(&self, stop: &CancellationToken) {
        loop {
            let stopped = stop
                .run_until_cancelled(self.for_file.notified())
                .await
                .is_none();
            // What changed last is written also at the end, once.
            let written = self.write().await;
            if stopped {
                return;
            }
            if written.is_err() {
                self.for_file.notify_one();
                if stop
                    .run_until_cancelled(tokio::time::sleep(RETRY))
                    .await
                    .is_none()
                {
                    return;
                }
            }
        }
    }

    async fn write(&self) -> io::Result<()> {
        let (path, kept) = (self.options.state.clone(), self.kept());
        let written = blocking(move || save(&path, &kept)).await;
        let mut state = self.state();
        state.file.error = match &written {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the state file was not written, it will be tried again");
                Some(format!("cannot be written: {error}"))
            }
        };
        written
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn load(path: &Path, now: Time) -> io::Result<Loaded> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
        Err(error) => return Err(error),
    };
    match read(&bytes) {
        Ok(kept) => Ok(Loaded::Kept(Box::new(kept))),
        Err(why) => {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".unusable-{}", now.millis()));
            let aside = path.with_file_name(name);
            fs::rename(path, &aside)?;
            Ok(Loaded::SetAside(aside, why))
        }
    }
}

fn read(bytes: &[u8]) -> Result<Kept, String> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is torn, or another program's: {error}"))?;
    if document.format != FORMAT {
        return Err(format!("its format is not {FORMAT}"));
    }
    if document.sha256 != checksum(&document.state) {
        return Err("its checksum is not that of what it holds".to_owned());
    }
    serde_json::from_str(document.state.get()).map_err(|error| error.to_string())
}

fn save(path: &Path, kept: &Kept) -> io::Result<()> {
    let state = serde_json::value::to_raw_value(kept).map_err(io::Error::other)?;
    let document = Document {
        format: FORMAT.to_owned(),
        sha256: checksum(&state),
        state,
    };
    let mut bytes = serde_json::to_vec(&document).map_err(io::Error::other)?;
    bytes.push(b'\n');
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = private(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// Configs may hold secrets: nobody else reads them.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn checksum(state: &RawValue) -> String {
    hex::encode(Sha256::digest(state.get().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept {
            agent_id: Some("a".to_owned()),
            poll_interval_seconds: Some(1.5),
            ..Kept::default()
        }
    }

    #[test]
    fn what_was_saved_is_there_again_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        assert!(matches!(load(&path, Time::EPOCH), Ok(Loaded::Nothing)));
        for _ in 0..2 {
            save(&path, &kept()).unwrap();
        }
        let Ok(Loaded::Kept(found)) = load(&path, Time::EPOCH) else {
            panic!("it is not there")
        };
        assert_eq!(*found, kept());
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn one_that_is_torn_anywhere_or_not_ours_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        save(&path, &kept()).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut bad: Vec<Vec<u8>> = (0..whole.len() - 1)
            .map(|end| whole[..end].to_vec())
            .collect();
        bad.push(
            String::from_utf8(whole)
                .unwrap()
                .replace("1.5", "2.5")
                .into_bytes(),
        );
        bad.push(b"{\"agent_id\": \"somebody else's\"}".to_vec());
        for (n, bytes) in bad.into_iter().enumerate() {
            fs::write(&path, &bytes).unwrap();
            let at = Time::from_millis(i64::try_from(n).unwrap());
            let Ok(Loaded::SetAside(aside, _)) = load(&path, at) else {
                panic!("{:?}", String::from_utf8_lossy(&bytes))
            };
            assert_eq!(fs::read(aside).unwrap(), bytes, "it is kept for people");
            assert!(!path.exists());
        }
    }
}

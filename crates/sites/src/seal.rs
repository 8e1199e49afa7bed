//! Access keys at rest: sealed with a key that is not in the store, each to its own site, so that a
//! copy of the store opens nobody's shop and a row moved to another site opens nothing.
//!
//! `1.KEY.TEXT`: the form, which key sealed it, and in base64 the nonce and what it sealed
//! (AES-256-GCM, of `ring`).

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use sha2::{Digest, Sha256};
use tidewire_core::clock;

const FORM: &str = "1";
const KEY_LEN: usize = 32;

/// Why a key could not be had, or a text not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "the access key was sealed with another key, of which this process knows nothing: give all processes of the store the same --sites-key, or register the site again"
    )]
    OtherKey,
    #[error("the sealed access key is damaged: register the site again")]
    Damaged,
    #[error("the key that seals access keys cannot be kept in {path}: {why}")]
    File { path: String, why: String },
}

/// One key that seals. Its debug form shows nothing.
#[derive(Clone)]
pub struct SealKey {
    id: String,
    key: Arc<LessSafeKey>,
    /// Makes keys for other purposes of this one.
    root: Arc<hmac::Key>,
}

impl SealKey {
    fn new(bytes: [u8; KEY_LEN]) -> Self {
        let id = hex::encode(&Sha256::digest(bytes)[..4]);
        let key = UnboundKey::new(&AES_256_GCM, &bytes);
        let key = key.expect("the key has the length of the algorithm's");
        SealKey {
            id,
            key: Arc::new(LessSafeKey::new(key)),
            root: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        }
    }
}

impl FromStr for SealKey {
    type Err = String;

    /// 32 bytes, as 64 hexadecimal digits or in base64.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bytes = hex::decode(text).ok();
        let bytes = bytes.or_else(|| STANDARD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        let wrong = "must be 32 bytes: 64 hexadecimal digits, as `openssl rand -hex 32` makes them";
        bytes.map(SealKey::new).ok_or_else(|| wrong.to_owned())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// The keys of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SealKeys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
enum Inner {
    /// The first seals, all of them open.
    Given(Vec<SealKey>),
    /// Read, or made, when one is first needed.
    File {
        path: PathBuf,
        key: Mutex<Option<SealKey>>,
    },
}

impl SealKeys {
    /// The first seals, all of them open: those behind it are older ones.
    #[must_use]
    pub fn given(keys: Vec<SealKey>) -> Self {
        SealKeys {
            inner: Arc::new(Inner::Given(keys)),
        }
    }

    /// In a file that only its owner can read; made when it is first needed.
    #[must_use]
    pub fn in_file(path: PathBuf) -> Self {
        let key = Mutex::default();
        SealKeys {
            inner: Arc::new(Inner::File { path, key }),
        }
    }

    /// Seals an access key to its site.
    pub(crate) fn seal(&self, tenant: &str, site: &str, text: &str) -> Result<String, SealError> {
        let keys = self.keys()?;
        let key = keys.first().ok_or(SealError::OtherKey)?;
        let nonce = clock::random_bytes::<NONCE_LEN>();
        let mut sealed = text.as_bytes().to_vec();
        let (at, aad) = (Nonce::assume_unique_for_key(nonce), aad(tenant, site));
        let done = key
            .key
            .seal_in_place_append_tag(at, Aad::from(aad), &mut sealed);
        done.map_err(|_| SealError::Damaged)?;
        let encoded = STANDARD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{FORM}.{}.{encoded}", key.id))
    }

    /// Opens what was sealed to this site.
    pub(crate) fn open(
        &self,
        tenant: &str,
        site: &str,
        sealed: &str,
    ) -> Result<AccessKey, SealError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORM), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(SealError::Damaged);
        };
        let keys = self.keys()?;
        let key = keys.iter().find(|key| key.id == id);
        let key = key.ok_or(SealError::OtherKey)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SealError::Damaged)?;
        let (nonce, sealed) = bytes
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut sealed = sealed.to_vec();
        let opened = key
            .key
            .open_in_place(nonce, Aad::from(aad(tenant, site)), &mut sealed);
        let opened = opened.map_err(|_| SealError::Damaged)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::Damaged)?;
        Ok(AccessKey(text.to_owned()))
    }

    /// Keys for another purpose, of which nobody learns these: one for each, the first of them the one
    /// to use, and the others for what was made with them.
    pub fn derived(&self, purpose: &str) -> Result<Vec<[u8; KEY_LEN]>, SealError> {
        let of = |key: SealKey| {
            let tag = hmac::sign(&key.root, purpose.as_bytes());
            let mut derived = [0; KEY_LEN];
            derived.copy_from_slice(tag.as_ref());
            derived
        };
        Ok(self.keys()?.into_iter().map(of).collect())
    }

    fn keys(&self) -> Result<Vec<SealKey>, SealError> {
        match &*self.inner {
            Inner::Given(keys) => Ok(keys.clone()),
            Inner::File { path, key } => {
                let mut known = key.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(key) = &*known {
                    return Ok(vec![key.clone()]);
                }
                let made = kept_in(path).map_err(|why| SealError::File {
                    path: path.display().to_string(),
                    why,
                })?;
                Ok(vec![known.insert(made).clone()])
            }
        }
    }
}

/// A site's key for its source, opened. Its debug form shows nothing.
#[derive(Clone)]
pub struct AccessKey(String);

impl AccessKey {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        AccessKey(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(…)")
    }
}

/// What a sealed text is bound to. Neither part has a NUL.
fn aad(tenant: &str, site: &str) -> Vec<u8> {
    [
        b"tidewire-site\0",
        tenant.as_bytes(),
        b"\0",
        site.as_bytes(),
    ]
    .concat()
}

/// The key in a file; where there is none, a new one.
fn kept_in(path: &Path) -> Result<SealKey, String> {
    match fs::read_to_string(path) {
        Ok(text) => return text.parse().map_err(|why| format!("what is there {why}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    // Written beside and linked into place whole: of two processes that make one at once, one wins,
    // and the other reads that.
    let beside = path.with_extension(format!(
        "{:x}.new",
        u64::from_le_bytes(clock::random_bytes())
    ));
    let made = write_new(&beside).and_then(|()| fs::hard_link(&beside, path));
    let removed = fs::remove_file(&beside);
    match made {
        Ok(()) => {
            removed.map_err(|error| error.to_string())?;
            tracing::info!(path = %path.display(), "made the key that seals the access keys of sites");
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse()
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", hex::encode(clock::random_bytes::<KEY_LEN>()))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn key(byte: u8) -> SealKey {
        hex::encode([byte; KEY_LEN]).parse().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_site_alone() {
        let keys = SealKeys::given(vec![key(7)]);
        let sealed = keys.seal("t", "shop", "bk_secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_ne!(sealed, keys.seal("t", "shop", "bk_secret").unwrap());
        assert_eq!(keys.open("t", "shop", &sealed).unwrap().text(), "bk_secret");
        assert_eq!(
            keys.open("t", "other", &sealed).unwrap_err(),
            SealError::Damaged
        );
        assert_eq!(
            keys.open("u", "shop", &sealed).unwrap_err(),
            SealError::Damaged
        );
        let mut torn = sealed.clone();
        torn.replace_range(20..21, if &sealed[20..21] == "A" { "B" } else { "A" });
        assert!(keys.open("t", "shop", &torn).is_err());
        assert!(keys.open("t", "shop", "").is_err());
        let shown = format!("{:?} {:?}", keys, keys.open("t", "shop", &sealed));
        assert!(
            !shown.contains("secret") && !shown.contains("0707"),
            "{shown}"
        );
    }

    #[test]
    fn an_older_key_still_opens_and_an_unknown_one_is_told_apart() {
        let old = SealKeys::given(vec![key(7)]);
        let sealed = old.seal("t", "s", "k").unwrap();
        let both = SealKeys::given(vec![key(8), key(7)]);
        assert_eq!(both.open("t", "s", &sealed).unwrap().text(), "k");
        let newer = both.seal("t", "s", "k").unwrap();
        assert_eq!(old.open("t", "s", &newer).unwrap_err(), SealError::OtherKey);
    }

    #[test]
    fn each_purpose_and_each_key_has_a_key_of_its_own() {
        let both = SealKeys::given(vec![key(8), key(7)]);
        let derived = both.derived("sessions").unwrap();
        assert_eq!(derived.len(), 2);
        assert_ne!(derived[0], derived[1]);
        assert_eq!(
            derived[1],
            SealKeys::given(vec![key(7)]).derived("sessions").unwrap()[0]
        );
        assert_ne!(derived, both.derived("others").unwrap());
        assert!(!derived.contains(&[7; KEY_LEN]));
    }

    #[test]
    fn a_key_is_32_bytes() {
        let base64 = STANDARD.encode([7; KEY_LEN]);
        assert_eq!(base64.parse::<SealKey>().unwrap().id, key(7).id);
        for bad in ["", "secret", "0707", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<SealKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("data/sites.key");
        let keys = SealKeys::in_file(path.clone());
        assert!(!path.exists(), "nothing needs it yet");
        let sealed = keys.seal("t", "s", "k").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SealKeys::in_file(path.clone());
        assert_eq!(again.open("t", "s", &sealed).unwrap().text(), "k");
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1);
        fs::write(&path, "damaged").unwrap();
        let error = SealKeys::in_file(path).open("t", "s", &sealed).unwrap_err();
        assert!(error.to_string().contains("sites.key"), "{error}");
    }
}

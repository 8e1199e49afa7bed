//! Sessions. The cookie is the session: what it stands for, until when, and a signature
//! (HMAC-SHA256), so that nothing is stored, a restart ends nobody's session and every process knows
//! it. It holds a key's handle and never the key; the handle is looked up with every request, so a
//! session ends with its key.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidewire_access::KeyHandle;
use tidewire_core::{Clock, Kind, Problem, Time, clock};

/// The cookie's name.
pub(crate) const COOKIE: &str = "tidewire-session";
/// The form of the text. Another one is no session.
const FORM: &str = "1";

type Keys = dyn Fn() -> Result<Vec<[u8; 32]>, String> + Send + Sync;

/// The keys that sign: the first signs, all of them are good. Asked for when one is needed, as making
/// one may leave a file behind.
#[derive(Clone)]
pub struct Secrets(Arc<Keys>);

impl Secrets {
    pub fn new(keys: impl Fn() -> Result<Vec<[u8; 32]>, String> + Send + Sync + 'static) -> Self {
        Secrets(Arc::new(keys))
    }

    fn all(&self) -> Result<Vec<[u8; 32]>, Problem> {
        match (self.0)() {
            Ok(keys) if !keys.is_empty() => Ok(keys),
            Ok(_) => Err(Problem::new(Kind::Internal, "no key signs sessions")),
            Err(why) => Err(Problem::new(Kind::Internal, why)),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

pub(crate) struct Sessions {
    clock: Clock,
    secrets: Secrets,
    lifetime: Duration,
}

/// A session that was signed here.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub handle: KeyHandle,
    /// Whom the operator acts for.
    pub tenant: Option<String>,
    pub expires: Time,
    /// What its forms' tokens are made of.
    nonce: String,
    /// The key that it was signed with.
    secret: [u8; 32],
}

impl Session {
    /// What the key's handle was made with.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl Sessions {
    pub fn new(clock: Clock, secrets: Secrets, lifetime: Duration) -> Self {
        Sessions {
            clock,
            secrets,
            lifetime,
        }
    }

    /// What new handles are made with.
    pub fn secret(&self) -> Result<[u8; 32], Problem> {
        Ok(self.secrets.all()?[0])
    }

    /// A session that begins now, as the cookie has it.
    pub fn begin(&self, handle: KeyHandle, tenant: Option<&str>) -> Result<String, Problem> {
        let expires = self.clock.now().plus(self.lifetime);
        self.signed(&handle, tenant, expires)
    }

    /// The same session for another tenant: it ends when it would have.
    pub fn moved(&self, session: &Session, tenant: &str) -> Result<String, Problem> {
        let text = unsigned(&session.handle, Some(tenant), session.expires);
        Ok(signed(&session.secret, &text))
    }

    fn signed(
        &self,
        handle: &KeyHandle,
        tenant: Option<&str>,
        expires: Time,
    ) -> Result<String, Problem> {
        let secret = self.secret()?;
        Ok(signed(&secret, &unsigned(handle, tenant, expires)))
    }

    /// The session that a cookie is, if it was signed here and has not ended.
    pub fn read(&self, cookie: &str) -> Result<Option<Session>, Problem> {
        let Some((text, tag)) = cookie.rsplit_once('.') else {
            return Ok(None);
        };
        let (Ok(bytes), Ok(tag)) = (URL_SAFE_NO_PAD.decode(text), URL_SAFE_NO_PAD.decode(tag))
        else {
            return Ok(None);
        };
        let mut secrets = self.secrets.all()?.into_iter();
        let is_signed =
            |secret: &[u8; 32]| mac(secret, "session", &bytes).verify_slice(&tag).is_ok();
        let Some(secret) = secrets.find(is_signed) else {
            return Ok(None);
        };
        let session = parse(&String::from_utf8_lossy(&bytes), secret);
        Ok(session.filter(|session| session.expires > self.clock.now()))
    }

    /// The token that a session's forms carry; without one, that of the open mode's.
    pub fn token(&self, session: Option<&Session>) -> Result<String, Problem> {
        let (secret, nonce) = match session {
            Some(session) => (session.secret, session.nonce.as_str()),
            None => (self.secret()?, ""),
        };
        let tag = mac(&secret, "form", nonce.as_bytes()).finalize();
        Ok(URL_SAFE_NO_PAD.encode(tag.into_bytes()))
    }

    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

fn unsigned(handle: &KeyHandle, tenant: Option<&str>, expires: Time) -> String {
    let nonce = u128::from_le_bytes(clock::random_bytes());
    let tenant = tenant.unwrap_or_default();
    format!("{FORM} {} {nonce:032x} {handle} {tenant}", expires.micros())
}

fn parse(text: &str, secret: [u8; 32]) -> Option<Session> {
    let mut parts = text.splitn(5, ' ');
    let mut next = || parts.next();
    let (FORM, expires, nonce, handle, tenant) = (next()?, next()?, next()?, next()?, next()?)
    else {
        return None;
    };
    Some(Session {
        handle: handle.parse().ok()?,
        tenant: (!tenant.is_empty()).then(|| tenant.to_owned()),
        expires: Time::from_micros(expires.parse().ok()?),
        nonce: nonce.to_owned(),
        secret,
    })
}

fn signed(secret: &[u8; 32], text: &str) -> String {
    let tag = mac(secret, "session", text.as_bytes()).finalize();
    let (text, tag) = (
        URL_SAFE_NO_PAD.encode(text),
        URL_SAFE_NO_PAD.encode(tag.into_bytes()),
    );
    format!("{text}.{tag}")
}

/// What is signed for one purpose is no good for another.
fn mac(secret: &[u8; 32], purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(purpose.as_bytes());
    mac.update(b"\0");
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(clock: &Clock, keys: &[u8]) -> Sessions {
        let keys: Vec<_> = keys.iter().map(|byte| [*byte; 32]).collect();
        let secrets = Secrets::new(move || Ok(keys.clone()));
        Sessions::new(clock.clone(), secrets, Duration::from_secs(60))
    }

    #[test]
    fn a_session_comes_back_until_it_ends() {
        let clock = Clock::fake(Time::from_millis(1_000));
        let here = sessions(&clock, &[1]);
        let cookie = here.begin(KeyHandle::OPEN, Some("acme")).unwrap();
        let session = here.read(&cookie).unwrap().unwrap();
        assert_eq!(session.handle, KeyHandle::OPEN);
        assert_eq!(session.tenant.as_deref(), Some("acme"));
        clock.advance(Duration::from_secs(30));
        let moved = here.moved(&session, "other").unwrap();
        let moved = here.read(&moved).unwrap().unwrap();
        assert_eq!(moved.tenant.as_deref(), Some("other"));
        assert_eq!(moved.expires, session.expires);
        clock.advance(Duration::from_secs(30));
        assert!(here.read(&cookie).unwrap().is_none());
    }

    #[test]
    fn only_what_was_signed_here_is_a_session() {
        let clock = Clock::fake(Time::from_millis(1_000));
        let old = sessions(&clock, &[1]);
        let cookie = old.begin(KeyHandle::OPEN, None).unwrap();
        assert!(sessions(&clock, &[2]).read(&cookie).unwrap().is_none());
        // The key was changed, and the old one is still good.
        assert!(sessions(&clock, &[2, 1]).read(&cookie).unwrap().is_some());
        let (text, tag) = cookie.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode("1 99999999999999 0 o victim");
        for wrong in ["", ".", text, tag, &format!("{forged}.{tag}"), "a.b.c"] {
            assert!(old.read(wrong).unwrap().is_none(), "{wrong}");
        }
        // A form's token is no session's signature.
        let session = old.read(&cookie).unwrap().unwrap();
        let token = old.token(Some(&session)).unwrap();
        assert!(old.read(&format!("{text}.{token}")).unwrap().is_none());
        assert_ne!(token, old.token(None).unwrap());
    }
}

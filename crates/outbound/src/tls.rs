//! TLS by rustls with ring: the web's roots, the machine's if they are asked for, and whatever else is given.

use std::{io, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore, pki_types::CertificateDer,
};

use crate::{SetupError, TlsProblem};

/// Whose signature makes a certificate good.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Beside the web's authorities also those that this machine trusts, where a company keeps its own.
    pub native: bool,
    /// And these.
    pub extra: Vec<CertificateDer<'static>>,
}

pub(crate) fn config(roots: &Roots) -> Result<Arc<ClientConfig>, SetupError> {
    let mut store = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if roots.native {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a root certificate of this machine cannot be read");
        }
        // Stores of machines hold all sorts of things; what is no usable root is left out.
        store.add_parsable_certificates(found.certs);
    }
    for certificate in &roots.extra {
        store
            .add(certificate.clone())
            .map_err(|error| SetupError::Root(error.to_string()))?;
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What kept a handshake from its end.
pub(crate) fn problem(error: &io::Error) -> TlsProblem {
    match rustls_error(error) {
        Some(error) => of_rustls(error),
        None => TlsProblem::Closed,
    }
}

/// The TLS library's own error, where that is what an input/output error carries.
pub(crate) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(crate) fn of_rustls(error: &rustls::Error) -> TlsProblem {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(why) => of_certificate(why),
        E::AlertReceived(AlertDescription::CertificateRequired) => TlsProblem::ClientCertificate,
        E::AlertReceived(_) => TlsProblem::Rejected,
        E::InvalidMessage(_) => TlsProblem::NotTls,
        _ => TlsProblem::Handshake,
    }
}

fn of_certificate(why: &CertificateError) -> TlsProblem {
    use CertificateError as C;
    match why {
        C::Expired | C::ExpiredContext { .. } => TlsProblem::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => TlsProblem::NotYetValid,
        C::NotValidForName | C::NotValidForNameContext { .. } => TlsProblem::WrongName,
        C::UnknownIssuer => TlsProblem::UnknownIssuer,
        C::Revoked => TlsProblem::Revoked,
        _ => TlsProblem::BadCertificate,
    }
}

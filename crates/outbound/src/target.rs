//! What a URL says, read once. Only what stands in a [`Target`] is checked, dialled and sent, so it does not matter how a
//! URL spells its host: `http://0x7f.1/`, `http://2130706433/`, `http://１２７.1/` and `http://%31%32%37.0.0.1./` are all
//! read, as the URL standard has it, into the address 127.0.0.1.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use rustls::pki_types::{DnsName, ServerName};
use url::Url;

use crate::{BadUrl, Error};

/// More than any endpoint has; what stores and logs meet is bounded.
pub(crate) const LONGEST_URL: usize = 8 * 1024;

/// Where a request goes: scheme, host, port, path and query. The fragment is nobody's business but a browser's.
#[derive(Clone)]
pub struct Target {
    origin: Origin,
    path_and_query: PathAndQuery,
}

/// Whom a connection is for. Connections are shared by requests of the same origin alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub secure: bool,
    pub host: Host,
    pub port: u16,
}

/// A host as its URL has it, read and put into its one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// In ASCII and lower case. A trailing dot stays: it keeps the resolver from trying its search domains.
    Name(Arc<str>),
    Address(IpAddr),
}

impl Target {
    /// Reads an absolute `http` or `https` URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        read(text).map_err(Error::BadUrl)
    }

    #[must_use]
    pub fn host(&self) -> &Host {
        &self.origin.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.secure
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// For HTTP/1.1.
    pub(crate) fn origin_form(&self) -> Uri {
        Uri::from(self.path_and_query.clone())
    }

    /// For HTTP/2, which takes scheme and authority from it.
    pub(crate) fn absolute_form(&self) -> Result<Uri, BadUrl> {
        let scheme = if self.origin.secure { "https" } else { "http" };
        Uri::builder()
            .scheme(scheme)
            .authority(self.origin.authority())
            .path_and_query(self.path_and_query.clone())
            .build()
            .map_err(|_| BadUrl::Host)
    }

    pub(crate) fn host_header(&self) -> Result<HeaderValue, BadUrl> {
        HeaderValue::try_from(self.origin.authority()).map_err(|_| BadUrl::Host)
    }
}

impl Origin {
    /// The host, and the port where it is not the scheme's own.
    fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        match (&self.host, self.port == usual) {
            (Host::Address(IpAddr::V6(address)), true) => format!("[{address}]"),
            (host, true) => host.to_string(),
            (_, false) => self.host_and_port(),
        }
    }

    pub fn host_and_port(&self) -> String {
        match &self.host {
            Host::Name(name) => format!("{name}:{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).to_string(),
        }
    }

    /// Whom the certificate must be for. Certificates know nothing of trailing dots.
    pub fn server_name(&self) -> Result<ServerName<'static>, BadUrl> {
        match &self.host {
            Host::Address(address) => Ok(ServerName::from(*address)),
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                let name = DnsName::try_from(name).map_err(|_| BadUrl::Host)?;
                Ok(ServerName::DnsName(name))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => address.fmt(f),
        }
    }
}

/// Scheme, host and port. The path and the query may be secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.origin.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

fn read(text: &str) -> Result<Target, BadUrl> {
    if text.len() > LONGEST_URL {
        return Err(BadUrl::TooLong { length: text.len() });
    }
    // The URL standard drops tabs and line breaks, trims spaces and takes `\` for `/`. In a setting each of them is a
    // mistake or a trick, and none is needed.
    let odd = |c: &char| *c <= ' ' || *c == '\u{7f}' || *c == '\\';
    if let Some(character) = text.chars().find(odd) {
        return Err(BadUrl::Character(character));
    }
    let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(BadUrl::Scheme),
    };
    // The standard would take the path's first part for the host.
    if rest.starts_with('/') {
        return Err(BadUrl::Host);
    }
    let url = Url::parse(text).map_err(|error| BadUrl::Syntax(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::Credentials);
    }
    let host = match url.host().ok_or(BadUrl::Host)? {
        url::Host::Ipv4(address) => Host::Address(address.into()),
        url::Host::Ipv6(address) => Host::Address(address.into()),
        url::Host::Domain(name) if is_name(name) => Host::Name(name.into()),
        url::Host::Domain(_) => return Err(BadUrl::Host),
    };
    let port = url.port_or_known_default().filter(|port| *port != 0);
    let path_and_query = &url[url::Position::BeforePath..url::Position::AfterQuery];
    Ok(Target {
        origin: Origin {
            secure,
            host,
            port: port.ok_or(BadUrl::Port)?,
        },
        path_and_query: PathAndQuery::try_from(path_and_query).map_err(|_| BadUrl::Path)?,
    })
}

/// Whether the resolver can be asked for it: labels of 1 to 63 characters of those that host names (and underscored
/// ones) are made of, 253 in all.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Host {
        match Target::parse(url) {
            Ok(target) => target.host().clone(),
            Err(error) => panic!("{url}: {error}"),
        }
    }

    fn fault(url: &str) -> BadUrl {
        match Target::parse(url) {
            Err(Error::BadUrl(fault)) => fault,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_the_address() {
        for url in [
            "http://127.0.0.1",
            "http://127.0.0.1./",
            "http://127.1/",
            "http://127.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0X7F.0.0.1/",
            "http://0177.0.0.01/",
            "http://017700000001/",
            "http://%31%32%37.0.0.1/",
            "http://127%2e0%2E0.1/",
            "http://１２７.０.０.１/",
            "http://127。0。0。1/",
            "HTTP://127.0.0.1/",
        ] {
            assert_eq!(host(url), Host::Address([127, 0, 0, 1].into()), "{url}");
        }
        for url in [
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[0000::0001]/",
            "http://[::0.0.0.1]/",
        ] {
            let loopback: IpAddr = "::1".parse().unwrap();
            assert_eq!(host(url), Host::Address(loopback), "{url}");
        }
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(host("http://[::FFFF:7F00:1]/"), Host::Address(mapped));
    }

    #[test]
    fn names_have_one_form() {
        for (url, name) in [
            ("https://Hooks.Example.COM/", "hooks.example.com"),
            ("https://hooks.example.com./", "hooks.example.com."),
            ("https://bücher.example/", "xn--bcher-kva.example"),
            ("https://ex%61mple.com/", "example.com"),
            ("https://_dmarc.example.com/", "_dmarc.example.com"),
        ] {
            assert_eq!(host(url), Host::Name(name.into()), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_and_no_name_is_refused() {
        let long_label = format!("http://{}.com/", "a".repeat(64));
        let long_name = format!("http://{}com/", "abcdefgh.".repeat(30));
        for url in [
            "http://[fe80::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[::1",
            "http://256.0.0.1/",
            "http://1.2.3.4.5/",
            "http://0x7f.0.0.1.2/",
            "http://a..b/",
            "http://./",
            "http:///path",
            "http://",
            "http://a%00b/",
            "http://a*b/",
            long_label.as_str(),
            long_name.as_str(),
        ] {
            let fault = fault(url);
            assert!(
                matches!(fault, BadUrl::Host | BadUrl::Syntax(_)),
                "{url}: {fault:?}"
            );
        }
    }

    #[test]
    fn only_http_and_https_without_tricks() {
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "unix:///var/run/docker.sock",
            "example.com/hook",
            "//example.com/",
            "http:example.com",
            "http:/example.com",
            "",
        ] {
            assert_eq!(fault(url), BadUrl::Scheme, "{url}");
        }
        for (url, character) in [
            (" http://example.com/", ' '),
            ("http://exa\tmple.com/", '\t'),
            ("http://example.com/\n", '\n'),
            ("http://example.com\\@127.0.0.1/", '\\'),
            ("http:\\\\127.0.0.1\\", '\\'),
            ("http://example.com/a b", ' '),
        ] {
            assert_eq!(fault(url), BadUrl::Character(character), "{url:?}");
        }
        for url in [
            "http://user@example.com/",
            "http://user:secret@example.com/",
            "http://:secret@example.com/",
            "http://example.com@127.0.0.1/",
        ] {
            assert_eq!(fault(url), BadUrl::Credentials, "{url}");
        }
        assert_eq!(fault("http://example.com:0/"), BadUrl::Port);
        let long = format!("http://example.com/{}", "a".repeat(LONGEST_URL));
        assert!(matches!(fault(&long), BadUrl::TooLong { .. }));
    }

    #[test]
    fn what_is_sent_is_what_was_read() {
        let target = Target::parse("http://Example.com:8080/a%2Fb/../c?q=ä#part").unwrap();
        assert_eq!(target.origin_form(), "/c?q=%C3%A4");
        assert_eq!(
            target.absolute_form().unwrap(),
            "http://example.com:8080/c?q=%C3%A4"
        );
        assert_eq!(target.host_header().unwrap(), "example.com:8080");
        let plain = Target::parse("https://[2606:4700::1111]:443").unwrap();
        assert_eq!(plain.origin_form(), "/");
        assert_eq!(plain.host_header().unwrap(), "[2606:4700::1111]");
    }

    #[test]
    fn paths_and_queries_stay_out_of_what_is_shown() {
        let target = Target::parse("https://hooks.example.com/secret?key=secret").unwrap();
        assert_eq!(target.to_string(), "https://hooks.example.com");
        assert!(!format!("{target:?}").contains("secret"));
    }
}

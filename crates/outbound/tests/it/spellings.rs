//! However an address is written into a URL, it is judged as the address that it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tidewire_outbound::{AddressPolicy, Error, Host, Target};

/// The refused blocks of IPv4 as (base, prefix), written down again.
const V4: &[(&str, u32)] = &[
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.0.2.0", 24),
    ("192.88.99.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 4),
    ("240.0.0.0", 4),
];

const V6: &[(&str, u32)] = &[
    ("::", 3),
    ("::ffff:0:0", 96),
    ("::", 96),
    ("::ffff:0:0:0", 96),
    ("64:ff9b::", 96),
    ("64:ff9b:1::", 48),
    ("100::", 64),
    ("2001::", 23),
    ("2001:db8::", 32),
    ("2002::", 16),
    ("3fff::", 20),
    ("4000::", 2),
    ("5f00::", 16),
    ("8000::", 1),
    ("fc00::", 7),
    ("fe80::", 10),
    ("fec0::", 10),
    ("ff00::", 8),
];

fn bad_v4() -> impl Strategy<Value = Ipv4Addr> {
    (prop::sample::select(V4), any::<u32>()).prop_map(|((base, prefix), random)| {
        let base: Ipv4Addr = base.parse().unwrap();
        Ipv4Addr::from_bits(base.to_bits() | random.checked_shr(prefix).unwrap_or(0))
    })
}

fn bad_v6() -> impl Strategy<Value = Ipv6Addr> {
    (prop::sample::select(V6), any::<u128>()).prop_map(|((base, prefix), random)| {
        let base: Ipv6Addr = base.parse().unwrap();
        Ipv6Addr::from_bits(base.to_bits() | random.checked_shr(prefix).unwrap_or(0))
    })
}

#[derive(Clone, Copy, Debug)]
enum Radix {
    Decimal,
    Octal,
    Hex,
    ShoutedHex,
    PaddedHex,
}

fn radix() -> impl Strategy<Value = Radix> {
    prop::sample::select(vec![
        Radix::Decimal,
        Radix::Octal,
        Radix::Hex,
        Radix::ShoutedHex,
        Radix::PaddedHex,
    ])
}

fn number(value: u32, radix: Radix) -> String {
    match radix {
        Radix::Decimal => value.to_string(),
        Radix::Octal => format!("0{value:o}"),
        Radix::Hex => format!("0x{value:x}"),
        Radix::ShoutedHex => format!("0X{value:X}"),
        Radix::PaddedHex => format!("0x{value:012x}"),
    }
}

/// An IPv4 address in `parts` numbers, as the C library has read them since 1983.
fn written(address: Ipv4Addr, parts: usize, radixes: [Radix; 4]) -> String {
    let [a, b, c, d] = address.octets().map(u32::from);
    let numbers = match parts {
        1 => vec![address.to_bits()],
        2 => vec![a, b << 16 | c << 8 | d],
        3 => vec![a, b, c << 8 | d],
        _ => vec![a, b, c, d],
    };
    let written: Vec<String> = numbers
        .into_iter()
        .zip(radixes)
        .map(|(value, radix)| number(value, radix))
        .collect();
    written.join(".")
}

/// Characters in another dress: percent-encoded, or full width.
fn dressed(host: &str, dress: &[u8]) -> String {
    let mut dress = dress.iter().cycle();
    host.chars()
        .map(|c| match dress.next().copied().unwrap_or(0) % 6 {
            0 => format!("%{:02x}", c as u32),
            1 => format!("%{:02X}", c as u32),
            2 => char::from_u32(c as u32 + 0xfee0).map_or_else(|| c.to_string(), String::from),
            3 if c == '.' => "。".to_owned(),
            _ => c.to_string(),
        })
        .collect()
}

/// The address that the client would dial if it were let, when the URL is read at all.
fn refused(url: &str) -> Option<IpAddr> {
    let target = match Target::parse(url) {
        Ok(target) => target,
        Err(Error::BadUrl(_)) => return None,
        Err(other) => panic!("{url}: {other}"),
    };
    match AddressPolicy::public().check_target(&target) {
        Err(Error::Refused { refusal, .. }) => Some(refusal.address),
        Err(other) => panic!("{url}: {other}"),
        Ok(()) => panic!("{url} passed as {:?}", target.host()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_spelling_of_an_ipv4_address_passes(
        address in bad_v4(),
        parts in 1..=4usize,
        radixes in [radix(), radix(), radix(), radix()],
        dot in any::<bool>(),
        scheme in prop::sample::select(vec!["http", "HTTP", "https", "hTTps"]),
        port in prop::option::of(1..=u16::MAX),
        dress in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let plain = written(address, parts, radixes) + if dot { "." } else { "" };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        for host in [plain.clone(), dressed(&plain, &dress)] {
            let url = format!("{scheme}://{host}{port}/in?x=1");
            // These are spellings that the URL standard reads, every one of them.
            prop_assert_eq!(refused(&url), Some(IpAddr::V4(address)), "{}", url);
        }
    }

    #[test]
    fn no_spelling_of_an_ipv6_address_passes(
        address in bad_v6(),
        shout in any::<bool>(),
        long in any::<bool>(),
    ) {
        let segments = address.segments();
        let mut text = if long {
            segments.map(|segment| format!("{segment:04x}")).join(":")
        } else {
            address.to_string()
        };
        if shout {
            text.make_ascii_uppercase();
        }
        let [.., y, z] = segments;
        let dotted = format!(
            "{}:{}",
            segments[..6].iter().map(|s| format!("{s:x}")).collect::<Vec<_>>().join(":"),
            Ipv4Addr::from_bits(u32::from(y) << 16 | u32::from(z)),
        );
        for host in [text, dotted] {
            let url = format!("https://[{host}]:8443/");
            prop_assert_eq!(refused(&url), Some(IpAddr::V6(address)), "{}", url);
            // A zone belongs to this machine; a URL has none.
            let zoned = format!("https://[{host}%25eth0]/");
            prop_assert!(Target::parse(&zoned).is_err(), "{}", zoned);
        }
    }

    #[test]
    fn what_carries_a_bad_ipv4_address_does_not_pass(address in bad_v4()) {
        let [a, b, c, d] = address.octets();
        for host in [
            format!("::ffff:{address}"),
            format!("::FFFF:{a:02X}{b:02X}:{c:02X}{d:02X}"),
            format!("::{address}"),
            format!("::ffff:0:{address}"),
            format!("64:ff9b::{address}"),
            format!("64:ff9b:1::{address}"),
            format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
        ] {
            prop_assert!(refused(&format!("http://[{host}]/")).is_some(), "{}", host);
        }
    }

    /// Whatever is read at all is read into one thing, which is judged.
    #[test]
    fn any_text_is_a_judged_address_a_name_or_an_error(host in "[ -~０-９。．]{0,40}") {
        let Ok(target) = Target::parse(&format!("http://{host}/")) else {
            return Ok(());
        };
        let judged = AddressPolicy::public().check_target(&target);
        match target.host() {
            Host::Address(address) => {
                prop_assert_eq!(judged.is_ok(), AddressPolicy::public().check(*address).is_ok());
            }
            // What the C library would read as a number must not be left for it to read.
            Host::Name(name) => {
                let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or("");
                prop_assert!(!last.is_empty() && !last.bytes().all(|b| b.is_ascii_digit()), "{}", name);
                prop_assert!(!last.starts_with("0x"), "{}", name);
            }
        }
    }
}

//! The ranges that are no public addresses, each with what it is for: IANA's special-purpose registries for IPv4 and
//! IPv6 (every entry that is not globally reachable), multicast, and what is not in the registries but leads elsewhere
//! than it seems. Stricter than the registries in three places, and says so there.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a range that is not public is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    ThisNetwork,
    Private,
    Shared,
    Loopback,
    LinkLocal,
    Protocol,
    Documentation,
    Relay,
    Benchmarking,
    Multicast,
    Reserved,
    Broadcast,
    Platform,
    Unspecified,
    Mapped,
    Compatible,
    Translated,
    Nat64,
    Discard,
    Dummy,
    Teredo,
    Orchid,
    SixToFour,
    SegmentRouting,
    UniqueLocal,
    SiteLocal,
    Unassigned,
}

impl Purpose {
    /// For labels of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Purpose::ThisNetwork => "this_network",
            Purpose::Private => "private",
            Purpose::Shared => "shared",
            Purpose::Loopback => "loopback",
            Purpose::LinkLocal => "link_local",
            Purpose::Protocol => "protocol",
            Purpose::Documentation => "documentation",
            Purpose::Relay => "relay",
            Purpose::Benchmarking => "benchmarking",
            Purpose::Multicast => "multicast",
            Purpose::Reserved => "reserved",
            Purpose::Broadcast => "broadcast",
            Purpose::Platform => "platform",
            Purpose::Unspecified => "unspecified",
            Purpose::Mapped => "mapped",
            Purpose::Compatible => "compatible",
            Purpose::Translated => "translated",
            Purpose::Nat64 => "nat64",
            Purpose::Discard => "discard",
            Purpose::Dummy => "dummy",
            Purpose::Teredo => "teredo",
            Purpose::Orchid => "orchid",
            Purpose::SixToFour => "six_to_four",
            Purpose::SegmentRouting => "segment_routing",
            Purpose::UniqueLocal => "unique_local",
            Purpose::SiteLocal => "site_local",
            Purpose::Unassigned => "unassigned",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::ThisNetwork => "an address of \"this network\"",
            Purpose::Private => "a private address",
            Purpose::Shared => "a carrier's shared address",
            Purpose::Loopback => "a loopback address",
            Purpose::LinkLocal => "a link-local address",
            Purpose::Protocol => "an address kept for protocols",
            Purpose::Documentation => "a documentation address",
            Purpose::Relay => "a 6to4 relay's address",
            Purpose::Benchmarking => "a benchmarking address",
            Purpose::Multicast => "a multicast address",
            Purpose::Reserved => "a reserved address",
            Purpose::Broadcast => "the broadcast address",
            Purpose::Platform => "a cloud platform's internal address",
            Purpose::Unspecified => "the unspecified address",
            Purpose::Mapped => "an IPv4-mapped address",
            Purpose::Compatible => "an IPv4-compatible address",
            Purpose::Translated => "an IPv4-translated address",
            Purpose::Nat64 => "a NAT64 address",
            Purpose::Discard => "a discard-only address",
            Purpose::Dummy => "a dummy address",
            Purpose::Teredo => "a Teredo address",
            Purpose::Orchid => "a cryptographic id, not an address",
            Purpose::SixToFour => "a 6to4 address",
            Purpose::SegmentRouting => "a segment-routing id",
            Purpose::UniqueLocal => "a private (unique local) address",
            Purpose::SiteLocal => "a site-local address",
            Purpose::Unassigned => "not a public IPv6 address",
        })
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(segments: [u16; 8], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// The first that holds an address names it, so the narrower stand before the wider.
const V4: &[(Ipv4Net, Purpose)] = &[
    (v4(0, 0, 0, 0, 8), Purpose::ThisNetwork),
    (v4(10, 0, 0, 0, 8), Purpose::Private),
    (v4(100, 64, 0, 0, 10), Purpose::Shared),
    (v4(127, 0, 0, 0, 8), Purpose::Loopback),
    (v4(169, 254, 0, 0, 16), Purpose::LinkLocal),
    (v4(172, 16, 0, 0, 12), Purpose::Private),
    // Whole, with 192.0.0.9 and 192.0.0.10: they are globally reachable, but as anycast doors to the nearest port
    // control and TURN server, which is the network that this process stands in.
    (v4(192, 0, 0, 0, 24), Purpose::Protocol),
    (v4(192, 0, 2, 0, 24), Purpose::Documentation),
    (v4(192, 88, 99, 0, 24), Purpose::Relay),
    (v4(192, 168, 0, 0, 16), Purpose::Private),
    (v4(198, 18, 0, 0, 15), Purpose::Benchmarking),
    (v4(198, 51, 100, 0, 24), Purpose::Documentation),
    (v4(203, 0, 113, 0, 24), Purpose::Documentation),
    // In no registry: from a machine in Azure this public address is its host's agent, from elsewhere nobody.
    (v4(168, 63, 129, 16, 32), Purpose::Platform),
    (v4(224, 0, 0, 0, 4), Purpose::Multicast),
    (v4(255, 255, 255, 255, 32), Purpose::Broadcast),
    (v4(240, 0, 0, 0, 4), Purpose::Reserved),
];

const MAPPED: Ipv6Net = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const COMPATIBLE: Ipv6Net = v6([0; 8], 96);
const TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

const V6: &[(Ipv6Net, Purpose)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Purpose::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Purpose::Loopback),
    (MAPPED, Purpose::Mapped),
    (COMPATIBLE, Purpose::Compatible),
    (TRANSLATED, Purpose::Translated),
    // Globally reachable says the registry, but what it reaches is an IPv4 address, through the nearest translator.
    (NAT64, Purpose::Nat64),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Purpose::Nat64),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), Purpose::Discard),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), Purpose::Dummy),
    (TEREDO, Purpose::Teredo),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), Purpose::Benchmarking),
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), Purpose::Orchid),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28), Purpose::Orchid),
    // Whole, like 192.0.0.0/24: the entries in it that are globally reachable (anycast doors, AMT, AS112, ORCHIDv2,
    // drones' ids) are no place for anybody's endpoint.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Purpose::Protocol),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        Purpose::Documentation,
    ),
    (SIX_TO_FOUR, Purpose::SixToFour),
    (
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        Purpose::Documentation,
    ),
    (
        v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
        Purpose::SegmentRouting,
    ),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Purpose::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Purpose::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Purpose::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Purpose::Multicast),
    // All but 2000::/3, the one block that global unicast addresses are given from: what IANA sets aside outside of it
    // next is refused before anybody here has heard of it.
    (v6([0; 8], 3), Purpose::Unassigned),
    (v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2), Purpose::Unassigned),
    (v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1), Purpose::Unassigned),
];

/// The range that keeps an address from being public.
pub(super) fn special(address: IpAddr) -> Option<(IpNet, Purpose)> {
    match address {
        IpAddr::V4(address) => V4
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(range, purpose)| (IpNet::V4(*range), *purpose)),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(range, purpose)| (IpNet::V6(*range), *purpose)),
    }
}

/// The IPv4 addresses that a packet to this IPv6 address would be carried to. A translator's local prefix
/// (64:ff9b:1::/48) is left out: where it puts them is its operator's choice.
pub(super) fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [_, a, b, c, .., y, z] = address.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = joined(y, z);
    let is_special = address.is_unspecified() || address.is_loopback();
    let found = if SIX_TO_FOUR.contains(&address) {
        [Some(joined(a, b)), None]
    } else if TEREDO.contains(&address) {
        // Its server, and its client with all bits turned.
        [Some(joined(b, c)), Some(joined(!y, !z))]
    } else if !is_special
        && [MAPPED, COMPATIBLE, TRANSLATED, NAT64]
            .iter()
            .any(|form| form.contains(&address))
    {
        [Some(last), None]
    } else {
        [None, None]
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(address: &str) -> Vec<String> {
        embedded(address.parse().unwrap())
            .map(|v4| v4.to_string())
            .collect()
    }

    #[test]
    fn what_is_carried_inside_is_found() {
        for form in [
            "::ffff:10.1.2.3",
            "::10.1.2.3",
            "::ffff:0:10.1.2.3",
            "64:ff9b::10.1.2.3",
            "2002:0a01:0203::1",
        ] {
            assert_eq!(found_in(form), ["10.1.2.3"], "{form}");
        }
        assert_eq!(
            found_in("2001:0:4136:e378:8000:63bf:f5fe:fdfc"),
            ["65.54.227.120", "10.1.2.3"]
        );
        for plain in ["::", "::1", "2606:4700::1111", "64:ff9b:1::10.1.2.3"] {
            assert!(found_in(plain).is_empty(), "{plain}");
        }
    }
}

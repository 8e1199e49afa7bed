//! The policy's table, written down a second time: for every range its first and last address are refused, and the one
//! before and the one after are as public as this table says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidewire_outbound::{AddressPolicy, Purpose, Refusal};

use Purpose::*;

/// First, last, what for, whether the address before and the one after are public.
type Row = (&'static str, &'static str, Purpose, bool, bool);

/// The IPv4 special-purpose registry, multicast, and one platform's address.
const V4: &[Row] = &[
    ("0.0.0.0", "0.255.255.255", ThisNetwork, false, true),
    ("10.0.0.0", "10.255.255.255", Private, true, true),
    ("100.64.0.0", "100.127.255.255", Shared, true, true),
    ("127.0.0.0", "127.255.255.255", Loopback, true, true),
    ("168.63.129.16", "168.63.129.16", Platform, true, true),
    ("169.254.0.0", "169.254.255.255", LinkLocal, true, true),
    ("172.16.0.0", "172.31.255.255", Private, true, true),
    ("192.0.0.0", "192.0.0.255", Protocol, true, true),
    ("192.0.0.0", "192.0.0.7", Protocol, true, false),
    ("192.0.0.8", "192.0.0.8", Protocol, false, false),
    ("192.0.0.9", "192.0.0.9", Protocol, false, false),
    ("192.0.0.10", "192.0.0.10", Protocol, false, false),
    ("192.0.0.170", "192.0.0.171", Protocol, false, false),
    ("192.0.2.0", "192.0.2.255", Documentation, true, true),
    ("192.88.99.0", "192.88.99.255", Relay, true, true),
    ("192.88.99.2", "192.88.99.2", Relay, false, false),
    ("192.168.0.0", "192.168.255.255", Private, true, true),
    ("198.18.0.0", "198.19.255.255", Benchmarking, true, true),
    ("198.51.100.0", "198.51.100.255", Documentation, true, true),
    ("203.0.113.0", "203.0.113.255", Documentation, true, true),
    ("224.0.0.0", "239.255.255.255", Multicast, true, false),
    ("240.0.0.0", "255.255.255.254", Reserved, false, false),
    (
        "255.255.255.255",
        "255.255.255.255",
        Broadcast,
        false,
        false,
    ),
];

const V6: &[Row] = &[
    ("::", "::", Unspecified, false, false),
    ("::1", "::1", Loopback, false, false),
    ("::2", "::ffff:ffff", Compatible, false, false),
    ("::1:0:0", "::fffe:ffff:ffff", Unassigned, false, false),
    (
        "::ffff:0:0:0",
        "::ffff:0:ffff:ffff",
        Translated,
        false,
        false,
    ),
    ("64:ff9b::", "64:ff9b::ffff:ffff", Nat64, false, false),
    (
        "64:ff9b:1::",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        Nat64,
        false,
        false,
    ),
    ("100::", "100::ffff:ffff:ffff:ffff", Discard, false, false),
    (
        "100:0:0:1::",
        "100:0:0:1:ffff:ffff:ffff:ffff",
        Dummy,
        false,
        false,
    ),
    (
        "100:0:0:2::",
        "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unassigned,
        false,
        true,
    ),
    (
        "2001::",
        "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
        Teredo,
        true,
        false,
    ),
    (
        "2001:1::",
        "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
        Protocol,
        false,
        false,
    ),
    ("2001:1::1", "2001:1::3", Protocol, false, false),
    (
        "2001:2::",
        "2001:2:0:ffff:ffff:ffff:ffff:ffff",
        Benchmarking,
        false,
        false,
    ),
    (
        "2001:3::",
        "2001:3:ffff:ffff:ffff:ffff:ffff:ffff",
        Protocol,
        false,
        false,
    ),
    (
        "2001:4:112::",
        "2001:4:112:ffff:ffff:ffff:ffff:ffff",
        Protocol,
        false,
        false,
    ),
    (
        "2001:10::",
        "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
        Orchid,
        false,
        false,
    ),
    (
        "2001:20::",
        "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
        Orchid,
        false,
        false,
    ),
    (
        "2001:30::",
        "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff",
        Protocol,
        false,
        false,
    ),
    (
        "2001:40::",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        Protocol,
        false,
        true,
    ),
    (
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        Documentation,
        true,
        true,
    ),
    (
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        SixToFour,
        true,
        true,
    ),
    (
        "3fff::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        Documentation,
        true,
        true,
    ),
    (
        "4000::",
        "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unassigned,
        true,
        false,
    ),
    (
        "5f00::",
        "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        SegmentRouting,
        false,
        false,
    ),
    (
        "5f01::",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unassigned,
        false,
        false,
    ),
    (
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        UniqueLocal,
        false,
        false,
    ),
    (
        "fe00::",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unassigned,
        false,
        false,
    ),
    (
        "fe80::",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        LinkLocal,
        false,
        false,
    ),
    (
        "fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        SiteLocal,
        false,
        false,
    ),
    (
        "ff00::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Multicast,
        false,
        true,
    ),
];

/// What is in the registries and globally reachable on its own, and what is simply public.
const PUBLIC: &[&str] = &[
    "192.31.196.0",
    "192.31.196.255",
    "192.52.193.1",
    "192.175.48.1",
    "192.175.48.255",
    "1.0.0.0",
    "8.8.8.8",
    "168.63.129.15",
    "223.255.255.255",
    "2620:4f:8000::1",
    "2000::",
    "2001:200::",
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
    "3fff:1000::",
    "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// What clouds offer to their machines and to nobody else.
const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
];

fn judge(address: IpAddr) -> Result<(), Refusal> {
    AddressPolicy::public().check(address)
}

fn purpose(address: IpAddr) -> Option<Purpose> {
    judge(address).err().map(|refusal| refusal.purpose)
}

fn neighbours(first: IpAddr, last: IpAddr) -> (Option<IpAddr>, Option<IpAddr>) {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (
            first
                .to_bits()
                .checked_sub(1)
                .map(|b| Ipv4Addr::from_bits(b).into()),
            last.to_bits()
                .checked_add(1)
                .map(|b| Ipv4Addr::from_bits(b).into()),
        ),
        (IpAddr::V6(first), IpAddr::V6(last)) => (
            first
                .to_bits()
                .checked_sub(1)
                .map(|b| Ipv6Addr::from_bits(b).into()),
            last.to_bits()
                .checked_add(1)
                .map(|b| Ipv6Addr::from_bits(b).into()),
        ),
        _ => panic!("a row of two families"),
    }
}

#[test]
fn every_range_is_refused_from_its_first_to_its_last_address() {
    for (first, last, what, before_is_public, after_is_public) in V4.iter().chain(V6) {
        let row = format!("{first} to {last}");
        let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(purpose(first), Some(*what), "the first of {row}");
        assert_eq!(purpose(last), Some(*what), "the last of {row}");
        let (before, after) = neighbours(first, last);
        if let Some(before) = before {
            let is_public = judge(before).is_ok();
            assert_eq!(is_public, *before_is_public, "{before}, before {row}");
        }
        if let Some(after) = after {
            let is_public = judge(after).is_ok();
            assert_eq!(is_public, *after_is_public, "{after}, after {row}");
        }
    }
}

#[test]
fn the_mapped_block_has_its_edges() {
    // Its first address carries one of "this network", its last the broadcast address.
    for (address, what) in [
        ("::fffe:ffff:ffff", Unassigned),
        ("::ffff:0:0", ThisNetwork),
        ("::ffff:255.255.255.255", Broadcast),
        ("::1:0:0:0", Unassigned),
    ] {
        assert_eq!(purpose(address.parse().unwrap()), Some(what), "{address}");
    }
}

#[test]
fn public_addresses_pass() {
    for address in PUBLIC {
        let judged = judge(address.parse().unwrap());
        assert!(judged.is_ok(), "{address}: {judged:?}");
    }
}

#[test]
fn metadata_services_are_refused() {
    for address in METADATA {
        assert!(judge(address.parse().unwrap()).is_err(), "{address}");
    }
}

/// All forms of IPv6 that carry an IPv4 address are refused, whatever they carry.
#[test]
fn no_form_carries_an_address_past_the_policy() {
    let edges = V4.iter().flat_map(|(first, last, ..)| [*first, *last]);
    for carried in edges.chain(["8.8.8.8", "1.1.1.1"]) {
        let v4: Ipv4Addr = carried.parse().unwrap();
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let forms = [
            ("mapped", Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low)),
            ("compatible", Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low)),
            (
                "translated",
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            ),
            ("NAT64", Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)),
            (
                "local NAT64",
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            ),
            ("6to4", Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)),
            (
                "Teredo client",
                Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0, 0, !high, !low),
            ),
            (
                "Teredo server",
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 1, 1),
            ),
        ];
        for (form, address) in forms {
            let refusal = judge(address.into()).expect_err(form);
            assert_eq!(refusal.address, address);
            let expected = (form == "mapped" && judge(v4.into()).is_err()).then_some(v4.into());
            assert_eq!(refusal.carried, expected, "{form} {carried}");
        }
    }
}

/// The whole of IPv4, one address of each /24 and the edges of each /16: what is public is exactly what no row holds.
#[test]
fn nothing_but_the_table_is_refused() {
    let rows: Vec<(u32, u32)> = V4
        .iter()
        .map(|(first, last, ..)| {
            let (first, last): (Ipv4Addr, Ipv4Addr) =
                (first.parse().unwrap(), last.parse().unwrap());
            (first.to_bits(), last.to_bits())
        })
        .collect();
    let policy = AddressPolicy::public();
    let mut steps = (0..=0xffff_u32).flat_map(|block| {
        let base = block << 16;
        [
            base,
            base | 0x0080,
            base | 0x0100,
            base | 0x7fff,
            base | 0xffff,
        ]
    });
    let wrong = steps.find(|bits| {
        let listed = rows
            .iter()
            .any(|(first, last)| (first..=last).contains(&bits));
        policy.check(Ipv4Addr::from_bits(*bits).into()).is_err() != listed
    });
    assert_eq!(wrong.map(Ipv4Addr::from_bits), None);
}

//! Which addresses may be dialled. Pure: no look-ups, no sockets.
//!
//! An address is public unless a range of [`ranges`] holds it. A subnet that the operator opened wins over the range,
//! with two rules about IPv6 forms that carry an IPv4 address:
//!
//! - An IPv4-mapped address is the IPv4 address in another dress (the kernel dials that), so a subnet that opens the one
//!   opens the other. It is dialled undressed.
//! - Opening a form opens no more than the form. NAT64 opened by `64:ff9b::/96` reaches public IPv4 addresses; what lies
//!   behind it at 10.0.0.1 stays closed until 10.0.0.0/8 is open too.

mod ranges;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{Error, Host, Target};

pub use ranges::Purpose;

/// The subnets to open where a server is for its own machine alone.
pub const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];

/// Which addresses may be dialled: public ones, and those in the subnets that were opened. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Arc<[IpNet]>,
}

impl AddressPolicy {
    /// Public addresses and no others.
    #[must_use]
    pub fn public() -> Self {
        Self::default()
    }

    /// Public addresses, and those in these subnets. `0.0.0.0/0` and `::/0` open everything.
    #[must_use]
    pub fn allowing(subnets: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            allow: subnets.into_iter().collect(),
        }
    }

    /// The subnets that were opened.
    #[must_use]
    pub fn allowed(&self) -> &[IpNet] {
        &self.allow
    }

    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let refused = |(range, purpose)| Refusal {
            address,
            range,
            purpose,
            carried: None,
        };
        match address {
            IpAddr::V4(_) if self.opens(address) => Ok(()),
            IpAddr::V4(_) => ranges::special(address).map_or(Ok(()), |found| Err(refused(found))),
            IpAddr::V6(v6) => self.check_v6(v6),
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), Refusal> {
        let Some((range, purpose)) = ranges::special(address.into()) else {
            return Ok(());
        };
        let carries = |inside: Refusal| Refusal {
            address: address.into(),
            carried: Some(inside.address),
            ..inside
        };
        if let Some(mapped) = address.to_ipv4_mapped() {
            if self.opens(mapped.into()) {
                return Ok(());
            }
            // What it carries says more than that it carries something.
            self.check(mapped.into()).map_err(carries)?;
        }
        if !self.opens(address.into()) {
            return Err(Refusal {
                address: address.into(),
                range,
                purpose,
                carried: None,
            });
        }
        ranges::embedded(address).try_for_each(|inside| self.check(inside.into()).map_err(carries))
    }

    /// Judges a target's address if its URL has one, before anything is looked up or dialled. A name passes: its
    /// addresses are judged when it is called. For the moment at which a URL is stored.
    pub fn check_target(&self, target: &Target) -> Result<(), Error> {
        match target.host() {
            Host::Address(address) => self.check(*address).map_err(|refusal| Error::Refused {
                host: target.host().to_string(),
                refusal,
            }),
            Host::Name(_) => Ok(()),
        }
    }

    /// All of a host's addresses, or none: one that is refused condemns the whole name. A public address beside a private
    /// one is an attack or a mistake, and which of them is dialled would be chance.
    pub(crate) fn admit(&self, host: &Host, found: &[IpAddr]) -> Result<Vec<Admitted>, Error> {
        found
            .iter()
            .map(|address| {
                self.check(*address).map_err(|refusal| Error::Refused {
                    host: host.to_string(),
                    refusal,
                })?;
                Ok(Admitted(address.to_canonical()))
            })
            .collect()
    }

    fn opens(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|subnet| subnet.contains(&address))
    }
}

/// An address that the policy let pass. Only the policy makes one, and only such a one can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted(IpAddr);

impl Admitted {
    pub fn address(self) -> IpAddr {
        self.0
    }
}

/// Why an address may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The address that would have been dialled. For the operator: it may tell of the inside of a network.
    pub address: IpAddr,
    /// What refuses it, or what it carries.
    pub range: IpNet,
    pub purpose: Purpose,
    /// The IPv4 address inside, where that is what was refused.
    pub carried: Option<IpAddr>,
}

impl Refusal {
    /// Without the address: fit for people who do not know it yet.
    pub(crate) fn kind(&self) -> impl fmt::Display {
        let inside = if self.carried.is_some() {
            "an IPv6 form of "
        } else {
            ""
        };
        format!("{inside}{} ({})", self.purpose, self.range)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            address,
            range,
            purpose,
            carried,
        } = self;
        match carried {
            Some(carried) => {
                write!(f, "{address} leads to {carried}, {purpose} ({range})")
            }
            None => write!(f, "{address} is {purpose} ({range})"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads a list such as `10.0.0.0/8, fd00::/8, 192.168.1.7`, as `--allow-subnet` takes it.
pub fn subnets(list: &str) -> Result<Vec<IpNet>, BadSubnet> {
    list.split(',').map(str::trim).map(subnet).collect()
}

fn subnet(text: &str) -> Result<IpNet, BadSubnet> {
    let bad = |why| BadSubnet {
        text: text.to_owned(),
        why,
    };
    let subnet: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| bad(SubnetFault::Syntax))?,
    };
    if let IpNet::V6(v6) = subnet
        && v6.addr().to_ipv4_mapped().is_some()
        && v6.prefix_len() > 96
    {
        return Err(bad(SubnetFault::Mapped));
    }
    if subnet.addr() != subnet.network() {
        return Err(bad(SubnetFault::HostBits(subnet.trunc())));
    }
    Ok(subnet)
}

/// A subnet that cannot be meant as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSubnet {
    pub text: String,
    why: SubnetFault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SubnetFault {
    Syntax,
    HostBits(IpNet),
    Mapped,
}

impl fmt::Display for BadSubnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match &self.why {
            SubnetFault::Syntax => write!(
                f,
                "`{text}` is not a subnet: write it as 10.0.0.0/8 or fd00::/8, or one address"
            ),
            SubnetFault::HostBits(meant) => write!(
                f,
                "`{text}` has bits beyond its prefix: write {meant} for the whole subnet, or the address alone"
            ),
            SubnetFault::Mapped => write!(
                f,
                "`{text}` is IPv4 in IPv6's dress: write the IPv4 subnet, which opens both"
            ),
        }
    }
}

impl std::error::Error for BadSubnet {}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(list: &str) -> AddressPolicy {
        AddressPolicy::allowing(subnets(list).unwrap())
    }

    fn passes(policy: &AddressPolicy, address: &str) -> bool {
        policy.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn subnets_are_read_as_people_write_them() {
        let read = subnets("10.0.0.0/8, fd00::/8,192.168.1.7,::1").unwrap();
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["10.0.0.0/8", "fd00::/8", "192.168.1.7/32", "::1/128"]
        );
    }

    #[test]
    fn a_subnet_that_cannot_be_meant_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("", "not a subnet"),
            ("10.0.0.0/33", "not a subnet"),
            ("localhost", "not a subnet"),
            ("::ffff:10.0.0.0/104", "IPv4 subnet"),
            ("::ffff:10.0.0.1", "IPv4 subnet"),
        ] {
            let error = subnets(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn an_opened_subnet_opens_the_mapped_form_and_nothing_beside_it() {
        let policy = opened("10.1.0.0/16");
        assert!(passes(&policy, "10.1.255.255"));
        assert!(passes(&policy, "::ffff:10.1.0.1"));
        for closed in [
            "10.2.0.0",
            "10.0.255.255",
            "::ffff:10.2.0.1",
            "::10.1.0.1",
            "::ffff:0:10.1.0.1",
            "64:ff9b::10.1.0.1",
            "2002:0a01:1::1",
        ] {
            assert!(!passes(&policy, closed), "{closed}");
        }
    }

    #[test]
    fn an_opened_form_opens_no_more_than_the_form() {
        let nat64 = opened("64:ff9b::/96");
        assert!(passes(&nat64, "64:ff9b::8.8.8.8"));
        assert!(!passes(&nat64, "64:ff9b::10.0.0.1"));
        let both = opened("64:ff9b::/96,10.0.0.0/8");
        assert!(passes(&both, "64:ff9b::10.0.0.1"));
        assert!(!passes(&both, "64:ff9b::127.0.0.1"));

        let teredo = opened("2001::/32");
        // A public server with a private client, and the other way round.
        assert!(!passes(&teredo, "2001:0:4136:e378:8000:63bf:f5fe:fdfc"));
        assert!(!passes(&teredo, "2001:0:0a00:1:8000:63bf:f7f7:f7f7"));
        assert!(passes(&teredo, "2001:0:4136:e378:8000:63bf:f7f7:f7f7"));

        let all_of_six = opened("::/0");
        assert!(passes(&all_of_six, "fe80::1"));
        assert!(!passes(&all_of_six, "::ffff:127.0.0.1"));
    }

    #[test]
    fn everything_can_be_opened() {
        let policy = opened("0.0.0.0/0,::/0");
        for address in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(passes(&policy, address), "{address}");
        }
    }

    #[test]
    fn a_mapped_address_is_dialled_undressed() {
        let policy = AddressPolicy::allowing(LOOPBACK);
        let host = Host::Name("localhost".into());
        let admitted = policy
            .admit(&host, &["::ffff:127.0.0.1".parse().unwrap()])
            .unwrap();
        assert_eq!(admitted[0].address(), IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn one_bad_address_condemns_the_name() {
        let host = Host::Name("mixed.example".into());
        let found = ["8.8.8.8", "10.0.0.1"].map(|text| text.parse().unwrap());
        let error = AddressPolicy::public().admit(&host, &found).unwrap_err();
        let Error::Refused { host, refusal } = error else {
            panic!("{error}");
        };
        assert_eq!(host, "mixed.example");
        assert_eq!(refusal.address, found[1]);
        assert_eq!(refusal.purpose, Purpose::Private);
    }
}

//! Sockets, to addresses that the policy let pass and to no others: that is what [`Admitted`] is for.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

use crate::policy::Admitted;

/// As RFC 8305 has it: how long an address is waited for before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// A name may have any number of addresses; a request knocks at no more than this many doors.
const MOST_TRIED: usize = 8;

/// Connects to the first that answers, IPv4 and IPv6 in turn, beginning with the resolver's first choice. Fails as the
/// first that failed did.
pub(crate) async fn connect(addresses: &[Admitted], port: u16) -> io::Result<TcpStream> {
    let mut waiting = in_turn(addresses).into_iter().take(MOST_TRIED).peekable();
    let mut under_way = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => under_way.push(open(address, port)),
            None if under_way.is_empty() => {
                let nothing = || io::Error::from(io::ErrorKind::AddrNotAvailable);
                return Err(failure.unwrap_or_else(nothing));
            }
            None => {}
        }
        tokio::select! {
            Some(opened) = under_way.next() => match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => { failure.get_or_insert(error); }
            },
            () = tokio::time::sleep(STAGGER), if waiting.peek().is_some() => {}
        }
    }
}

async fn open(address: Admitted, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::new(address.address(), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn in_turn(addresses: &[Admitted]) -> Vec<Admitted> {
    let Some(first) = addresses.first() else {
        return Vec::new();
    };
    let leads = first.address().is_ipv6();
    let (leading, other): (Vec<Admitted>, Vec<Admitted>) = addresses
        .iter()
        .partition(|address| address.address().is_ipv6() == leads);
    let mut other = other.into_iter();
    let mut order = Vec::with_capacity(addresses.len());
    for address in leading {
        order.push(address);
        order.extend(other.next());
    }
    order.extend(other);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AddressPolicy, Host};

    #[test]
    fn families_take_turns() {
        let found = ["2606::1", "2606::2", "2606::3", "8.8.8.8", "8.8.4.4"]
            .map(|address| address.parse().unwrap());
        let host = Host::Name("both.example".into());
        let admitted = AddressPolicy::public().admit(&host, &found).unwrap();
        let order: Vec<String> = in_turn(&admitted)
            .iter()
            .map(|address| address.address().to_string())
            .collect();
        assert_eq!(
            order,
            ["2606::1", "8.8.8.8", "2606::2", "8.8.4.4", "2606::3"]
        );
    }
}

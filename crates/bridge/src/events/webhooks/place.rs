//! Where a receiver may be (A187): at an address of the public network, or on this machine. What an operator names
//! must not reach what only this machine's network lets in, such as a cloud's metadata or a device's own pages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether the host of an https address may be a receiver, as far as its name tells; [`Public`] sees to the rest.
pub(super) fn named(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => global(&address),
        Err(_) => !local(bare),
    }
}

fn local(name: &str) -> bool {
    name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

/// Resolves names to public addresses only, and `localhost`, to which only http goes, to this machine.
pub(super) struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str();
            let mut found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            found.retain(|found| if local(name) { found.ip().is_loopback() } else { global(&found.ip()) });
            if found.is_empty() {
                return Err("the receiver has no public address".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public network.
fn global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => global_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => global_v4(&mapped),
            None => global_v6(address),
        },
    }
}

fn global_v4(address: &Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation();
    // This network, shared by a provider's customers, protocols, measurements, and what is not given out.
    let set_apart = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special && !set_apart
}

fn global_v6(address: &Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Of what is given out at all, tunnels lead to addresses that nobody looked at.
    (0x2000..0x4000).contains(&a) && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8)) && a != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        for public in ["9.9.9.9", "100.128.0.1", "2620:fe::fe", "2a00:1450::1", "::ffff:9.9.9.9"] {
            assert!(global(&public.parse().unwrap()), "{public}");
        }
        for other in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!global(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn hosts_of_this_network_are_seen_by_their_name() {
        let may = |url: &str| named(&reqwest::Url::parse(url).unwrap());
        assert!(may("https://receiver.example/hook") && may("https://9.9.9.9/"));
        for url in [
            "https://localhost/",
            "https://localhost./",
            "https://127.1/",
            "https://[::1]/",
            "https://169.254.169.254/",
        ] {
            assert!(!may(url), "{url}");
        }
    }
}

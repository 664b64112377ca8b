//! CAN over UDP multicast, as python-can's `udp_multicast` interface does it (`spec/can.md`, C124 to C126).
//!
//! Every member of a group on a port hears what any of them sends: a bus for several programs on one host, or on a
//! network where that is wanted. Datagrams may get lost and change their order, silently, and whoever can reach the
//! group can send: **a carrier for the laboratory, not for a pack in service.** The secure link above it stands that.
//!
//! The own frames, which the system gives back because other programs on the host must hear them, are told apart by
//! the address that they come from and left out.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

mod datagram;

pub use datagram::{DatagramError, MAX_LEN, Message, decode, encode};

/// The port that python-can takes without being told.
pub const DEFAULT_PORT: u16 = 43_113;
/// The IPv4 group of python-can.
pub const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 74, 163, 2));
/// Room asked of the system for datagrams that wait; it may give less.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Which network interface the group is joined on and sent to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interface {
    /// The one that the system chooses, as python-can does.
    #[default]
    System,
    /// The one with this address, for an IPv4 group.
    Address(Ipv4Addr),
    /// The one with this index, for an IPv6 group.
    Index(u32),
}

/// Where the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpConfig {
    /// A multicast address.
    pub group: IpAddr,
    /// Port of every member.
    pub port: u16,
    /// Routers that a datagram may pass, plus one: 0 stays on this host, 1 on this network.
    pub hop_limit: u8,
    /// Network interface.
    pub interface: Interface,
}

impl Default for UdpConfig {
    /// Group 239.74.163.2, port 43113, this host only.
    fn default() -> Self {
        Self { group: DEFAULT_GROUP, port: DEFAULT_PORT, hop_limit: 0, interface: Interface::System }
    }
}

/// Why a text is no `GROUP[:PORT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a multicast address with an optional port, such as 239.74.163.2, 239.74.163.2:43113 or [ff15::1]:43113"
)]
pub struct NotAGroup;

impl UdpConfig {
    fn check(&self) -> Result<(), OpenError> {
        match (self.group, self.interface) {
            (group, _) if !group.is_multicast() => Err(OpenError::NotMulticast(group)),
            (IpAddr::V4(_), Interface::Index(_)) | (IpAddr::V6(_), Interface::Address(_)) => {
                Err(OpenError::Interface)
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for UdpConfig {
    type Err = NotAGroup;

    fn from_str(text: &str) -> Result<Self, NotAGroup> {
        let (group, port) = match text.parse::<SocketAddr>() {
            Ok(address) => (address.ip(), address.port()),
            Err(_) => (text.parse().map_err(|_| NotAGroup)?, DEFAULT_PORT),
        };
        if !group.is_multicast() || port == 0 {
            return Err(NotAGroup);
        }
        Ok(Self { group, port, ..Self::default() })
    }
}

impl fmt::Display for UdpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.group, self.port).fmt(f)
    }
}

/// Why the bus cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is no multicast address.
    #[error("{0} is not a multicast address")]
    NotMulticast(IpAddr),
    /// An interface named by address for IPv6, or by index for IPv4.
    #[error("an IPv4 group needs an interface named by its address, an IPv6 group one named by its index")]
    Interface,
    /// The system refused.
    #[error("cannot {step} {config}: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// The bus.
        config: UdpConfig,
        /// Why not.
        source: io::Error,
    },
}

/// A datagram that is no message, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Its sender.
    pub from: SocketAddr,
    /// What is wrong with it.
    pub reason: DatagramError,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A message of another member.
    Message(Message),
    /// Something else, dropped and counted.
    Rejected(Rejection),
}

/// What happened since the bus was joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Messages sent.
    pub sent: u64,
    /// Messages received from others.
    pub received: u64,
    /// Own messages heard back.
    pub own: u64,
    /// Datagrams that were no message.
    pub rejected: u64,
}

/// Sends to the group and hears nothing.
#[derive(Debug)]
pub struct UdpSender {
    socket: UdpSocket,
}

impl UdpSender {
    /// Makes ready to send.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(config: &UdpConfig) -> Result<Self, OpenError> {
        config.check()?;
        let failed = |source| OpenError::System { step: "send to", config: *config, source };
        Ok(Self { socket: sending_socket(config).map_err(failed)? })
    }

    /// Sends a message with its time in microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, message: &Message, timestamp_us: u64) -> io::Result<()> {
        self.socket.send(&encode(message, timestamp_us)).map(|_| ())
    }
}

/// A member of the group. Nothing is kept here: what is not received waits in the system's buffer or is lost.
#[derive(Debug)]
pub struct UdpBus {
    receiver: UdpSocket,
    /// Another socket, because members on one host share the port: its own port tells own messages from theirs.
    sender: UdpSender,
    own: SocketAddr,
    counters: UdpCounters,
}

impl UdpBus {
    /// Joins the group.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn join(config: &UdpConfig) -> Result<Self, OpenError> {
        config.check()?;
        let failed = |step| move |source| OpenError::System { step, config: *config, source };
        let receiver = receiving_socket(config).map_err(failed("join"))?;
        let sender = UdpSender::open(config)?;
        let own = sender.socket.local_addr().map_err(failed("send to"))?;
        Ok(Self { receiver, sender, own, counters: UdpCounters::default() })
    }

    /// Sends a message with its time in microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, message: &Message, timestamp_us: u64) -> io::Result<()> {
        self.sender.send(message, timestamp_us)?;
        self.counters.sent += 1;
        Ok(())
    }

    /// The next datagram of another member; `None` when none came within `limit` (at least a microsecond).
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&mut self, limit: Duration) -> io::Result<Option<Received>> {
        self.receiver.set_read_timeout(Some(limit.max(Duration::from_micros(1))))?;
        // One byte more than is allowed, so that a longer datagram is seen to be longer.
        let mut buffer = [0; MAX_LEN + 1];
        loop {
            let (n, from) = match self.receiver.recv_from(&mut buffer) {
                Ok(got) => got,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if from.ip() == self.own.ip() && from.port() == self.own.port() {
                self.counters.own += 1;
                continue;
            }
            return Ok(Some(match decode(&buffer[..n]) {
                Ok(message) => {
                    self.counters.received += 1;
                    Received::Message(message)
                }
                Err(reason) => {
                    self.counters.rejected += 1;
                    Received::Rejected(Rejection { from, reason })
                }
            }));
        }
    }

    /// Counts since the bus was joined.
    pub fn counters(&self) -> UdpCounters {
        self.counters
    }
}

fn socket(group: IpAddr) -> io::Result<Socket> {
    let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
}

fn receiving_socket(config: &UdpConfig) -> io::Result<UdpSocket> {
    let socket = socket(config.group)?;
    // Several programs of one host are members at the same time.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    // Less room only means that a slow reader loses messages earlier.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // Bound to the group, the socket hears nothing that was sent to this host alone. Windows cannot do that.
    let any: IpAddr = match config.group {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let at = if cfg!(windows) { any } else { config.group };
    socket.bind(&SocketAddr::new(at, config.port).into())?;
    match (config.group, config.interface) {
        (IpAddr::V4(group), Interface::Address(address)) => socket.join_multicast_v4(&group, &address)?,
        (IpAddr::V4(group), _) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?,
        (IpAddr::V6(group), Interface::Index(index)) => socket.join_multicast_v6(&group, index)?,
        (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, 0)?,
    }
    Ok(socket.into())
}

fn sending_socket(config: &UdpConfig) -> io::Result<UdpSocket> {
    let socket = socket(config.group)?;
    match config.group {
        IpAddr::V4(_) => {
            if let Interface::Address(address) = config.interface {
                socket.set_multicast_if_v4(&address)?;
            }
            socket.set_multicast_ttl_v4(config.hop_limit.into())?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(_) => {
            if let Interface::Index(index) = config.interface {
                socket.set_multicast_if_v6(index)?;
            }
            socket.set_multicast_hops_v6(config.hop_limit.into())?;
            socket.set_multicast_loop_v6(true)?;
        }
    }
    // Connected, it has the address that the others see.
    socket.connect(&SocketAddr::new(config.group, config.port).into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;

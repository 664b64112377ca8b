//! What stands between a network and the routes: where the bridge answers, to whom, and how often (A130 to A140).

pub(crate) mod server;
pub mod settings;
mod stall;
pub(crate) mod threads;
pub mod tls;

use std::{path::PathBuf, time::Duration};

use crate::{
    BridgeError,
    access::{
        door::{Door, Rate},
        users::Users,
    },
};

/// How a bridge is reached. The default is that of one machine: http in clear on a loopback address, and whoever
/// opens a connection is the local operator.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// The file of its users. While there are none, it only serves this machine; the first ones count at once.
    pub users: Option<PathBuf>,
    /// How often each principal may ask.
    pub rate: Rate,
    /// What it shows to those who connect; without it it only listens on loopback addresses.
    pub tls: Option<tls::Identity>,
    /// The names and addresses under which it is reached, besides those of its own machine; any, if it speaks TLS and
    /// none is given.
    pub names: Vec<String>,
    /// How long it waits for them.
    pub patience: Patience,
}

/// How long a client is waited for (A8, A137, A144).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the handshake of TLS, and for the header of a request from when its connection is free for it.
    pub header: Duration,
    /// For a request: its body, what it has done, and the wait for a block.
    pub request: Duration,
    /// For the block of one transaction.
    pub block: Duration,
    /// For a client that takes nothing of what it asked for.
    pub reader: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let s = Duration::from_secs;
        Patience { header: s(10), request: s(45), block: s(30), reader: s(30) }
    }
}

/// A [`Front`] at work.
pub(crate) struct Open {
    pub door: Door,
    pub tls: Option<tokio_rustls::TlsAcceptor>,
    pub patience: Patience,
    names: Vec<String>,
}

impl Open {
    /// At work from `now_ms` on, Unix milliseconds.
    pub fn new(front: &Front, now_ms: u64) -> Result<Self, BridgeError> {
        let users = front.users.clone().map(Users::open).transpose()?;
        let tls = front.tls.as_ref().map(tls::acceptor).transpose()?;
        let door = Door::new(users, front.rate, now_ms);
        Ok(Open { door, tls, patience: front.patience, names: front.names.clone() })
    }

    /// Whether requests for this host are answered: a page from elsewhere whose name was made to resolve to this machine
    /// still sends its own name.
    pub fn answers_to(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        // A request that names no host, or two, is for nobody, also where any name would do.
        let any = self.tls.is_some() && self.names.is_empty() && !bare.is_empty();
        any || api::client::is_loopback(host) || self.names.iter().any(|name| name.eq_ignore_ascii_case(bare))
    }
}

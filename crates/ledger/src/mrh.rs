//! The horizon of a component (`spec/ledger.md`, L148 to L150): what it is bound to, paired with and witnessing, hop by hop.
//!
//! No rule keeps a graph: bindings and pairings in force are the links, and what witnesses saw is noted where it is
//! recorded. So a link cannot outlive what made it.

use alloc::vec::Vec;

use lct::id::Cid;

use crate::{
    records::{
        Binding, Bindings, Pairing, Pairings, key,
        registry::{Seen, Witnessing},
    },
    state::{Halt, View, load},
};

/// How deep a horizon is when nobody says otherwise.
pub const DEFAULT_DEPTH: u8 = 3;
/// How deep it can be.
pub const MAX_DEPTH: u8 = 10;
/// Most components in a horizon, the one in its middle counted.
pub const MAX_REACHED: usize = 256;
/// What a component counts for at each hop, ppm; farther away nothing.
pub const WEIGHTS_PPM: [u32; 6] = [1_000_000, 700_000, 490_000, 343_000, 240_100, 0];

/// What a component at this many hops counts for, ppm.
#[must_use]
pub fn weight_ppm(hops: u8) -> u32 {
    WEIGHTS_PPM.get(usize::from(hops)).copied().unwrap_or(0)
}

/// What makes two components neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LinkKind {
    /// A binding in force.
    Bound = 1,
    /// A pairing in force.
    Paired = 2,
    /// One saw what the other stated.
    Witnessing = 3,
}

impl LinkKind {
    /// Lower-case word for people and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Paired => "paired",
            Self::Witnessing => "witnessing",
        }
    }
}

/// A link of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// The other end.
    pub peer: Cid,
}

/// A component within a horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub cid: Cid,
    /// Hops from the middle.
    pub hops: u8,
    /// What it counts for, ppm.
    pub weight_ppm: u32,
    /// The link by which it was reached, from the component one hop nearer; the middle has none.
    pub via: Option<(Cid, LinkKind)>,
}

/// What a component sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The middle first, then by hops; of one hop in the order in which it was found.
    pub reached: Vec<Reached>,
    /// Whether there was more within the depth than [`MAX_REACHED`].
    pub cut: bool,
}

/// Links of a component at `now_ms` of block time, ascending by kind and peer, each once.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn links(view: &(impl View + ?Sized), cid: &Cid, now_ms: u64) -> Result<Vec<Link>, Halt> {
    let mut links = Vec::new();
    let bindings: Option<Bindings> = load(view, &key::bindings_of(cid))?;
    for id in bindings.map_or_else(Vec::new, |l| l.0) {
        let binding: Option<Binding> = load(view, &key::binding(&id))?;
        let binding = binding.ok_or(Halt::Invariant("a listed binding is missing"))?;
        let peer = if binding.a == *cid { binding.b } else { binding.a };
        links.push(Link { kind: LinkKind::Bound, peer });
        let pairings: Option<Pairings> = load(view, &key::pairings_of(&id))?;
        for id in pairings.map_or_else(Vec::new, |l| l.0) {
            let pairing: Option<Pairing> = load(view, &key::pairing(&id))?;
            if pairing.ok_or(Halt::Invariant("a listed pairing is missing"))?.in_force(now_ms) {
                links.push(Link { kind: LinkKind::Paired, peer });
            }
        }
    }
    let seen: Option<Witnessing> = load(view, &key::witnessing(cid))?;
    for Seen { peer, .. } in seen.map_or_else(Vec::new, |w| w.0) {
        links.push(Link { kind: LinkKind::Witnessing, peer });
    }
    links.sort_unstable();
    links.dedup();
    Ok(links)
}

/// The horizon of `cid` at `now_ms` of block time, at most [`MAX_DEPTH`] deep. Each component stands once, at its least
/// distance.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn horizon(view: &(impl View + ?Sized), cid: &Cid, depth: u8, now_ms: u64) -> Result<Horizon, Halt> {
    let mut reached = alloc::vec![Reached { cid: *cid, hops: 0, weight_ppm: weight_ppm(0), via: None }];
    let mut next = 0;
    while let Some(&Reached { cid: from, hops, .. }) = reached.get(next) {
        next += 1;
        if hops >= depth.min(MAX_DEPTH) {
            break;
        }
        for Link { kind, peer } in links(view, &from, now_ms)? {
            if reached.iter().any(|r| r.cid == peer) {
                continue;
            }
            if reached.len() == MAX_REACHED {
                return Ok(Horizon { reached, cut: true });
            }
            let hops = hops + 1;
            let weight_ppm = weight_ppm(hops);
            reached.push(Reached { cid: peer, hops, weight_ppm, via: Some((from, kind)) });
        }
    }
    Ok(Horizon { reached, cut: false })
}

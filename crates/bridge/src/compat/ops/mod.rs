//! The operations of the older contract, one function each on typed requests and answers, which REST and other transports
//! call. A request's members are optional where old clients leave them out; what an operation needs it says itself.
//!
//! In an answer `status` is the word of the older contract and `state` what is so; a profile shows the one, the other, or
//! both (A155). Times are Unix seconds. No answer holds `null`: what does not exist is absent.

pub mod account;
pub mod anonymous;
pub mod authorization;
pub mod component;
pub mod energy;
pub mod entity;
pub mod lct;
pub mod pairing;
pub mod queue;
pub mod trust;

use ::lct::id::Cid;
use ledger::tx::TxId;
use node::Snapshot;

use crate::refusal::{Refusal, Reply};

/// A member that must be there.
fn required<'a>(field: &str, value: &'a str) -> Reply<&'a str> {
    if value.is_empty() { Err(Refusal::format(format!("{field}: it is missing"))) } else { Ok(value) }
}

/// A registered component by its id, or its cid in hexadecimal.
fn known(snapshot: &Snapshot<'_>, field: &str, id: &str) -> Reply<Cid> {
    required(field, id)?;
    crate::routes::component::cid_of(snapshot, id).map_err(|Refusal(p)| match p.detail {
        Some(_) => Refusal(p),
        None => Refusal(p).detail(format!("{field}: {id}")),
    })
}

fn hash(tx: &TxId) -> String {
    hex::encode(tx)
}

/// Parts per million as a ratio.
fn ratio(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

/// A context as the ledger takes it (L34): other characters become `_`, nothing becomes `default`.
fn context(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let text: String = text.chars().take(ledger::tx::MAX_CONTEXT).map(plain).collect();
    if text.is_empty() { "default".into() } else { text }
}

/// Part of a list: at most `limit` (default and most 100) after the first `offset`.
#[derive(Debug, Clone, Copy)]
struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    /// Most items of an answer.
    const MOST: usize = 100;

    /// Reads what a query says; empty is the default.
    fn read(offset: &str, limit: &str) -> Reply<Self> {
        let number = |field: &str, text: &str, default: usize| match text {
            "" => Ok(default),
            text => text.parse::<usize>().map_err(|_| Refusal::format(format!("{field}: it is a number"))),
        };
        let page = Page { offset: number("offset", offset, 0)?, limit: number("limit", limit, Self::MOST)? };
        if (1..=Self::MOST).contains(&page.limit) {
            Ok(page)
        } else {
            Err(Refusal::format(format!("limit: 1 to {}", Self::MOST)))
        }
    }

    fn of<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_of_old_clients_become_contexts_of_the_ledger() {
        assert_eq!(context("race_car_demo"), "race_car_demo");
        assert_eq!(context("energy transfer/é"), "energy_transfer__");
        assert_eq!(context(""), "default");
        assert_eq!(context(&"x".repeat(99)).len(), ledger::tx::MAX_CONTEXT);
    }

    #[test]
    fn pages_are_bounded() {
        let page = Page::read("2", "3").ok().unwrap();
        assert_eq!(page.of((0..10).collect()), [2, 3, 4]);
        assert_eq!(Page::read("", "").ok().unwrap().of((0..200).collect::<Vec<_>>()).len(), 100);
        assert_eq!(Page::read("9999999", "1").ok().unwrap().of(vec![1]), Vec::<i32>::new());
        for (offset, limit) in [("", "0"), ("", "101"), ("-1", ""), ("x", ""), ("", "1e3")] {
            assert!(Page::read(offset, limit).is_err(), "{offset} {limit}");
        }
    }
}

//! Energy between packs: orders of owners, receipts of the two packs, quotes (`spec/ledger.md`, L212, L214 and L216).
//!
//! Energy is in mWh, a price in millionths of the chain's currency per kWh, time in Unix milliseconds. Every statement names
//! its chain.

use crate::{
    Digest, Error, codec,
    hash::sha256,
    id::{Cid, PairingId},
    sign::PublicKey,
};

/// Length bound of an encoded statement.
pub const TRADE_MAX: usize = 256;

/// Identity of a transfer or an offer: 16 random bytes that its author draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TradeId(pub [u8; 16]);

impl core::fmt::Display for TradeId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What the owner of a pack orders: `{0: 1, 1: chain id, 2: code, 3: id, 4: cid, ..}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// Of the transfer that it begins (codes 1, 2 and 5), or of the offer (3, 4 and 6).
    pub id: TradeId,
    /// The pack whose owner signs.
    pub cid: Cid,
    /// What is ordered.
    pub what: What,
}

/// What an [`Order`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Code 1, `5: to, 6: pairing, 7: mWh, 8: until`: gives energy to another pack.
    Transfer(Give),
    /// Code 2, fields as code 1: gives as much as makes both packs equally full, at most `mwh`.
    Balance(Give),
    /// Code 3, `5: mWh, 6: least, 7: price, 8: from, 9: until`: offers energy.
    OfferEnergy(Terms),
    /// Code 4, fields as code 3: offers to take energy in.
    OfferCapacity(Terms),
    /// Code 5, `5: offer, 6: pairing, 7: most, 8: least, 9: until`: accepts an offer.
    Accept(Acceptance),
    /// Code 6: withdraws an offer.
    Withdraw,
}

/// A transfer to another pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Give {
    /// The pack that takes.
    pub to: Cid,
    /// The pairing under which both packs talk.
    pub pairing: PairingId,
    /// Energy.
    pub mwh: u64,
    /// Block time from which it can be released.
    pub until_ms: u64,
}

/// Terms of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// All that is offered.
    pub mwh: u64,
    /// Least that is accepted at once.
    pub least: u64,
    /// What the one who accepts pays, millionths per kWh.
    pub price: u64,
    /// Block time from which it can be accepted.
    pub from_ms: u64,
    /// Block time from which it cannot be accepted any more.
    pub until_ms: u64,
}

/// Acceptance of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance {
    /// Which offer.
    pub offer: TradeId,
    /// The pairing under which both packs talk.
    pub pairing: PairingId,
    /// Most that is wanted.
    pub most: u64,
    /// Least that is worth it.
    pub least: u64,
    /// Block time from which the transfer can be released.
    pub until_ms: u64,
}

impl What {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            What::Transfer(_) => 1,
            What::Balance(_) => 2,
            What::OfferEnergy(_) => 3,
            What::OfferCapacity(_) => 4,
            What::Accept(_) => 5,
            What::Withdraw => 6,
        }
    }

    /// A word for people and APIs.
    pub fn name(&self) -> &'static str {
        match self {
            What::Transfer(_) => "transfer",
            What::Balance(_) => "balance",
            What::OfferEnergy(_) => "offer energy",
            What::OfferCapacity(_) => "offer capacity",
            What::Accept(_) => "accept",
            What::Withdraw => "withdraw",
        }
    }
}

/// Encodes, and hashes under `label`, so that what is signed is what is sent.
fn digest(
    label: &[u8],
    encode: impl FnOnce(&mut [u8; TRADE_MAX]) -> Result<usize, Error>,
) -> Result<Digest, Error> {
    let mut out = [0; TRADE_MAX];
    let n = encode(&mut out)?;
    Ok(sha256(&[label, &out[..n]]))
}

/// Opens a map of one of `sizes` entries with version 1 and the chain id; the answer is its size.
fn open(d: &mut minicbor::Decoder<'_>) -> Result<(u64, Digest), Error> {
    let pairs = codec::object(d)?;
    codec::expect_key(d, 1)?;
    Ok((pairs, codec::bytes(d)?))
}

fn int(d: &mut minicbor::Decoder<'_>, key: u8) -> Result<u64, Error> {
    codec::expect_key(d, key)?;
    Ok(d.u64()?)
}

fn id<const N: usize>(d: &mut minicbor::Decoder<'_>, key: u8) -> Result<[u8; N], Error> {
    codec::expect_key(d, key)?;
    codec::bytes(d)
}

impl Order {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; TRADE_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            let pairs = match self.what {
                What::Transfer(_) | What::Balance(_) => 9,
                What::OfferEnergy(_) | What::OfferCapacity(_) | What::Accept(_) => 10,
                What::Withdraw => 5,
            };
            e.map(pairs)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.u8(self.what.code())?;
            e.u8(3)?.bytes(&self.id.0)?.u8(4)?.bytes(&self.cid.0)?;
            match self.what {
                What::Transfer(g) | What::Balance(g) => {
                    e.u8(5)?.bytes(&g.to.0)?.u8(6)?.bytes(&g.pairing.0)?;
                    e.u8(7)?.u64(g.mwh)?.u8(8)?.u64(g.until_ms)?;
                }
                What::OfferEnergy(t) | What::OfferCapacity(t) => {
                    e.u8(5)?.u64(t.mwh)?.u8(6)?.u64(t.least)?.u8(7)?.u64(t.price)?;
                    e.u8(8)?.u64(t.from_ms)?.u8(9)?.u64(t.until_ms)?;
                }
                What::Accept(a) => {
                    e.u8(5)?.bytes(&a.offer.0)?.u8(6)?.bytes(&a.pairing.0)?;
                    e.u8(7)?.u64(a.most)?.u8(8)?.u64(a.least)?.u8(9)?.u64(a.until_ms)?;
                }
                What::Withdraw => {}
            }
            e.ok()
        })
    }

    /// Reads the CBOR; refuses unknown codes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        let (pairs, chain_id) = open(d)?;
        codec::expect_key(d, 2)?;
        let code = d.u8()?;
        let (trade, cid) = (TradeId(id(d, 3)?), Cid(id(d, 4)?));
        let what = match (code, pairs) {
            (1 | 2, 9) => {
                let (to, pairing) = (Cid(id(d, 5)?), PairingId(id(d, 6)?));
                let give = Give { to, pairing, mwh: int(d, 7)?, until_ms: int(d, 8)? };
                if code == 1 { What::Transfer(give) } else { What::Balance(give) }
            }
            (3 | 4, 10) => {
                let (mwh, least, price) = (int(d, 5)?, int(d, 6)?, int(d, 7)?);
                let terms = Terms { mwh, least, price, from_ms: int(d, 8)?, until_ms: int(d, 9)? };
                if code == 3 { What::OfferEnergy(terms) } else { What::OfferCapacity(terms) }
            }
            (5, 10) => {
                let (offer, pairing) = (TradeId(id(d, 5)?), PairingId(id(d, 6)?));
                let (most, least) = (int(d, 7)?, int(d, 8)?);
                What::Accept(Acceptance { offer, pairing, most, least, until_ms: int(d, 9)? })
            }
            (6, 5) => What::Withdraw,
            _ => return Err(Error::Malformed),
        };
        Ok(Order { chain_id, id: trade, cid, what })
    }

    /// Whether it begins a transfer; otherwise it is about an offer.
    pub fn begins(&self) -> bool {
        matches!(self.what, What::Transfer(_) | What::Balance(_) | What::Accept(_))
    }

    /// What the owner signs: `H("modbatt1 energy-order" || bytes)`.
    pub fn digest(&self) -> Result<Digest, Error> {
        digest(b"modbatt1 energy-order", |out| self.encode(out))
    }
}

/// What both packs say of a transfer: `{0: 1, 1: chain id, 2: transfer, 3: given, 4: received, 5: start ms, 6: end ms}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The transfer.
    pub transfer: TradeId,
    /// Energy that left the giver.
    pub given: u64,
    /// Energy that reached the taker.
    pub received: u64,
    /// When it began to flow.
    pub start_ms: u64,
    /// When it had flowed.
    pub end_ms: u64,
}

impl Receipt {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; TRADE_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(7)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.transfer.0)?;
            e.u8(3)?.u64(self.given)?.u8(4)?.u64(self.received)?;
            e.u8(5)?.u64(self.start_ms)?.u8(6)?.u64(self.end_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses time running backwards.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        let (pairs, chain_id) = open(d)?;
        let transfer = TradeId(id(d, 2)?);
        let (given, received) = (int(d, 3)?, int(d, 4)?);
        let (start_ms, end_ms) = (int(d, 5)?, int(d, 6)?);
        if pairs != 7 || end_ms < start_ms {
            return Err(Error::Malformed);
        }
        Ok(Receipt { chain_id, transfer, given, received, start_ms, end_ms })
    }

    /// What both packs sign: `H("modbatt1 energy-receipt" || bytes)`.
    pub fn digest(&self) -> Result<Digest, Error> {
        digest(b"modbatt1 energy-receipt", |out| self.encode(out))
    }
}

/// The price of a pack's cycle, agreed by two: `{0: 1, 1: chain id, 2: cid, 3: cycle, 4: price, 5: other}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The pack.
    pub cid: Cid,
    /// The cycle.
    pub cycle: u32,
    /// Millionths per kWh.
    pub price: u64,
    /// Who sells to the pack's owner what was charged, and buys what was discharged.
    pub other: PublicKey,
}

impl Quote {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; TRADE_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(6)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.cid.0)?;
            e.u8(3)?.u32(self.cycle)?.u8(4)?.u64(self.price)?.u8(5)?.bytes(&self.other.0)?.ok()
        })
    }

    /// Reads the CBOR; refuses a key that is no point.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        let (pairs, chain_id) = open(d)?;
        let cid = Cid(id(d, 2)?);
        codec::expect_key(d, 3)?;
        let cycle = d.u32()?;
        let price = int(d, 4)?;
        codec::expect_key(d, 5)?;
        let other = PublicKey::from_slice(d.bytes()?)?;
        if pairs != 6 {
            return Err(Error::Malformed);
        }
        Ok(Quote { chain_id, cid, cycle, price, other })
    }

    /// What both sign: `H("modbatt1 energy-quote" || bytes)`.
    pub fn digest(&self) -> Result<Digest, Error> {
        digest(b"modbatt1 energy-quote", |out| self.encode(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;

    #[test]
    fn statements_read_as_written_and_nothing_else_does() {
        let give = Give { to: Cid([3; 16]), pairing: PairingId([4; 16]), mwh: u64::MAX, until_ms: 1 };
        let terms = Terms { mwh: 9, least: 1, price: u64::MAX, from_ms: 0, until_ms: u64::MAX };
        let accept = Acceptance {
            offer: TradeId([5; 16]),
            pairing: PairingId([4; 16]),
            most: 7,
            least: 0,
            until_ms: u64::MAX,
        };
        let all = [
            What::Transfer(give),
            What::Balance(give),
            What::OfferEnergy(terms),
            What::OfferCapacity(terms),
            What::Accept(accept),
            What::Withdraw,
        ];
        let mut digests = std::vec::Vec::new();
        let mut out = [0; TRADE_MAX];
        for what in all {
            let order = Order { chain_id: [1; 32], id: TradeId([2; 16]), cid: Cid([2; 16]), what };
            let n = order.encode(&mut out).unwrap();
            assert_eq!(Order::decode(&out[..n]), Ok(order));
            assert!(Order::decode(&out[..n - 1]).is_err(), "cut");
            assert!(Order::decode(&out[..=n]).is_err(), "something behind");
            // Every other code has other fields, or means something else.
            for code in 0..8 {
                let mut other = out;
                other[39] = code;
                let read = Order::decode(&other[..n]);
                assert!(read != Ok(order) || code == what.code(), "{code}");
            }
            out[2] = 2;
            assert!(Order::decode(&out[..n]).is_err(), "another version");
            digests.push(order.digest().unwrap());
        }
        let receipt = Receipt {
            chain_id: [1; 32],
            transfer: TradeId([2; 16]),
            given: u64::MAX,
            received: 1,
            start_ms: 4,
            end_ms: 4,
        };
        let n = receipt.encode(&mut out).unwrap();
        assert_eq!(Receipt::decode(&out[..n]), Ok(receipt));
        digests.push(receipt.digest().unwrap());
        let n = Receipt { start_ms: 5, ..receipt }.encode(&mut out).unwrap();
        assert_eq!(Receipt::decode(&out[..n]), Err(Error::Malformed), "time running backwards");
        let other = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let quote = Quote { chain_id: [1; 32], cid: Cid([2; 16]), cycle: u32::MAX, price: 3, other };
        let n = quote.encode(&mut out).unwrap();
        assert_eq!(Quote::decode(&out[..n]), Ok(quote));
        digests.push(quote.digest().unwrap());
        let n = Quote { other: PublicKey([0xFF; 33]), ..quote }.encode(&mut out).unwrap();
        assert_eq!(Quote::decode(&out[..n]), Err(Error::InvalidKey), "a key that is no point");
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 8, "nothing is signed for something else");
    }
}

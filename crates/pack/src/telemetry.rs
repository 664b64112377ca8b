//! From measurements to signed batches: what a record holds, and the batcher that a module and the pack
//! controller share (`spec/can.md`, C40 to C46; `spec/ledger.md`, L40 and L41).

use crate::{
    identity::{Record as FlashRecord, key, versioned_u32},
    message::{ModuleScan, PackStatusAll},
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    id::Cid,
    merkle::Accumulator,
    record::{BATCH_MAX, BATCH_MS, BatchStatement, Record, RecordKind},
    sign::{Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Sequence numbers reserved in flash at once.
pub const SEQUENCE_STRIDE: u32 = 4_096;
/// Leaves kept so that a receiver can fill a gap.
pub const LEAVES_KEPT: usize = 256;
/// Signed statements kept until they are acknowledged.
pub const STATEMENTS_KEPT: usize = 8;
/// How long a statement waits for its acknowledgement before it is sent again.
pub const RETRY: Duration = Duration::from_millis(500);

/// The record of a module's scan.
///
/// Values: relay state, permission, state of charge ppm, state of health ppm, current mA, voltage mV, cell minimum,
/// maximum and mean mV, temperature minimum, maximum and mean in thousandths of a degree, index of the first cell,
/// number of cells n, n cell voltages mV, n cell temperatures in whole degrees.
pub fn module_record(cid: Cid, scan: &ModuleScan) -> Result<Record, Error> {
    let s = &scan.status;
    let head = [
        s.status1.state as i32,
        s.status1.permission as i32,
        integer(s.status1.soc_ppm),
        integer(s.status1.soh_ppm),
        s.status1.current_ma,
        integer(s.status1.voltage_mv),
        integer(s.status2.cell_min_mv),
        integer(s.status2.cell_max_mv),
        integer(s.status2.cell_avg_mv),
        s.status3.cell_min_mc,
        s.status3.cell_max_mc,
        s.status3.cell_avg_mc,
        i32::from(scan.first),
        scan.cells.len() as i32,
    ];
    let mut values = heapless::Vec::from_slice(&head).map_err(|_| Error::BufferTooSmall)?;
    for cell in &scan.cells {
        values.push(i32::from(cell.mv)).map_err(|_| Error::BufferTooSmall)?;
    }
    for cell in &scan.cells {
        values.push(i32::from(cell.celsius)).map_err(|_| Error::BufferTooSmall)?;
    }
    Ok(Record { cid, seq: scan.stamp.seq, time_ms: scan.stamp.time_ms, kind: RecordKind::Module, values })
}

/// The record of a pack's status.
///
/// Values: pack state, permission, state of charge ppm, state of health ppm, measured pack voltage mV, measured pack
/// current mA, cell minimum, maximum and mean mV, temperature minimum, maximum and mean in thousandths of a degree,
/// discharge and charge limit mA, modules registered, modules active, module fault.
pub fn pack_record(cid: Cid, status: &PackStatusAll) -> Result<Record, Error> {
    let values = [
        status.state.state as i32,
        status.state.permission as i32,
        integer(status.data2.soc_ppm),
        integer(status.state.soh_ppm),
        integer(status.pack_mv),
        status.pack_ma,
        integer(status.data2.cell_min_mv),
        integer(status.data2.cell_max_mv),
        integer(status.data2.cell_avg_mv),
        status.data3.cell_min_mc,
        status.data3.cell_max_mc,
        status.data3.cell_avg_mc,
        status.data5.discharge_limit_ma,
        status.data5.charge_limit_ma,
        i32::from(status.state.modules_total),
        i32::from(status.state.modules_active),
        i32::from(status.state.module_fault),
    ];
    let values = heapless::Vec::from_slice(&values).map_err(|_| Error::BufferTooSmall)?;
    Ok(Record { cid, seq: status.stamp.seq, time_ms: status.stamp.time_ms, kind: RecordKind::Pack, values })
}

fn integer(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A signed statement that waits for its acknowledgement.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What was signed.
    pub statement: BatchStatement,
    /// By the relationship's signing key.
    pub signature: Signature,
    /// The relationship has another key since it was signed.
    stale: bool,
    due: Instant,
}

/// Numbers records, collects their leaves, signs their batches.
pub struct Batcher {
    cid: Cid,
    next_seq: u32,
    reserved: u32,
    open: Option<Open>,
    leaves: heapless::Deque<(u32, Digest), LEAVES_KEPT>,
    pending: heapless::Deque<Pending, STATEMENTS_KEPT>,
    lost: u32,
}

struct Open {
    tree: Accumulator,
    first_seq: u32,
    first_ms: u64,
    last_ms: u64,
    close_due: Instant,
}

impl Batcher {
    /// Continues after the sequence numbers reserved under [`key::SEQUENCE`].
    pub fn new(cid: Cid, stored: Option<&[u8]>) -> Result<Self, Error> {
        let next = stored.map_or(Ok(0), versioned_u32)?;
        Ok(Batcher {
            cid,
            next_seq: next,
            reserved: next,
            open: None,
            leaves: heapless::Deque::new(),
            pending: heapless::Deque::new(),
            lost: 0,
        })
    }

    /// The next sequence number, and the reservation that must be durable before it is used, if one is due.
    pub fn reserve(&mut self) -> Result<(u32, Option<FlashRecord>), Error> {
        let seq = self.next_seq;
        if seq < self.reserved {
            return Ok((seq, None));
        }
        let limit = seq.checked_add(SEQUENCE_STRIDE).ok_or(Error::Exhausted)?;
        let record = FlashRecord::new(key::SEQUENCE, &[&[1], &limit.to_be_bytes()])?;
        self.reserved = limit;
        Ok((seq, Some(record)))
    }

    /// Adds the record numbered by [`Batcher::reserve`].
    pub fn push(&mut self, record: &Record, now: Instant) -> Result<(), Error> {
        let leaf = record.leaf()?;
        self.next_seq = record.seq.checked_add(1).ok_or(Error::Exhausted)?;
        if self.leaves.is_full() {
            self.leaves.pop_front();
        }
        self.leaves.push_back((record.seq, leaf)).map_err(|_| Error::BufferTooSmall)?;
        let open = self.open.get_or_insert_with(|| Open {
            tree: Accumulator::default(),
            first_seq: record.seq,
            first_ms: record.time_ms,
            last_ms: record.time_ms,
            close_due: now + Duration::from_millis(BATCH_MS),
        });
        open.tree.push(leaf);
        open.last_ms = open.last_ms.max(record.time_ms);
        Ok(())
    }

    /// True when the open batch is full or 30 s old at `now_ms`.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.open.as_ref().is_some_and(|o| {
            o.tree.count() >= u32::from(BATCH_MAX) || now_ms.saturating_sub(o.first_ms) >= BATCH_MS
        })
    }

    /// When the open batch is 30 s old, measured or not.
    pub fn close_due(&self) -> Option<Instant> {
        self.open.as_ref().map(|o| o.close_due)
    }

    /// Signs the open batch, if it holds anything; the statement is sent from `first` on.
    pub fn close(&mut self, key: &SigningKey, first: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let statement = BatchStatement {
            cid: self.cid,
            first_seq: open.first_seq,
            count: open.tree.count() as u16,
            root: open.tree.root(),
            first_ms: open.first_ms,
            last_ms: open.last_ms,
        };
        let signature = statement.sign(key, rng)?;
        if self.pending.is_full() {
            self.pending.pop_front();
            self.lost += 1;
        }
        let pending = Pending { statement, signature, stale: false, due: first };
        self.pending.push_back(pending).map_err(|_| Error::BufferTooSmall)
    }

    /// The next statement to send or send again at `now`, if any; `key` is that of the relationship.
    pub fn poll(
        &mut self,
        now: Instant,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pending>, Error> {
        // One at a time, in order: a later statement on the ledger would shut out an earlier one.
        let Some(pending) = self.pending.front_mut().filter(|p| p.due <= now) else { return Ok(None) };
        if pending.stale {
            pending.signature = pending.statement.sign(key, rng)?;
            pending.stale = false;
        }
        pending.due = now + RETRY;
        Ok(Some(pending.clone()))
    }

    /// The relationship has another key: what waits is signed anew when it is its turn (H181).
    pub fn unsign(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.stale = true);
    }

    /// When [`Batcher::poll`] has something.
    pub fn due(&self) -> Option<Instant> {
        self.pending.front().map(|p| p.due)
    }

    /// The statement beginning at `first_seq` is kept by the receiver.
    pub fn acknowledge(&mut self, first_seq: u32) {
        self.pending.retain(|p| p.statement.first_seq != first_seq);
    }

    /// Leaf of a record whose message did not arrive.
    pub fn leaf(&self, seq: u32) -> Option<Digest> {
        self.leaves.iter().find(|(s, _)| *s == seq).map(|(_, leaf)| *leaf)
    }

    /// True when nothing is unsigned or unacknowledged.
    pub fn is_empty(&self) -> bool {
        self.open.is_none() && self.pending.is_empty()
    }

    /// Statements given up because too many waited.
    pub fn lost(&self) -> u32 {
        self.lost
    }
}

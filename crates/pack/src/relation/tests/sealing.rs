//! What sealing leaves to be stored reaches the flash, whatever becomes of the message.

use super::*;
use crate::device::Device;

const RECORDS: usize = 4;
type Sender = Device<(), RECORDS, 1>;

fn id() -> SealedId {
    SealedId::new(0x405, Level::Exch, Direction::Ab, 0).unwrap()
}

fn stored(device: &mut Sender) -> Vec<u16> {
    let mut keys = Vec::new();
    while let Some(record) = device.poll(|record| record, || None, |()| unreachable!("no event was told")) {
        keys.push(record.key);
    }
    keys
}

/// An app whose channel is up and has sent nothing of its exchange tier yet.
fn sender() -> (Sender, Relation) {
    let couple = couple(&[]);
    let mut line = Box::new(Line::new(&couple));
    line.run_for(Duration::from_secs(2), false);
    let relation = core::mem::replace(&mut line.ends[0].relation, Relation::new(0));
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let own = identity("app-0001", Role::App, &mut rng);
    let mut device = Sender::start(own, |_| Ok(None), Instant::START, &mut rng).unwrap();
    stored(&mut device);
    (device, relation)
}

#[test]
fn a_reservation_is_stored_although_its_message_was_not_sealed() {
    let (mut device, mut relation) = sender();
    let too_short = device.seal(&mut relation, id(), 0x405, 0, &[&[1, 2, 3]], &mut [0; 8]);
    assert_eq!(too_short, Err(Error::BufferTooSmall));
    assert!(stored(&mut device).contains(&key::counter(0, Tier::Exch)));
    // The reservation holds: the next message needs none.
    device.seal(&mut relation, id(), 0x405, 0, &[&[1, 2, 3]], &mut [0; 64]).unwrap();
    assert!(stored(&mut device).is_empty());
}

#[test]
fn nothing_counts_as_reserved_for_which_the_queue_has_no_place() {
    let (mut device, mut relation) = sender();
    for slot in 0..RECORDS as u8 {
        device.store(Record::new(key::age(slot), &[&[1]]).unwrap()).unwrap();
    }
    let mut seal = |device: &mut Sender| device.seal(&mut relation, id(), 0x405, 0, &[&[1]], &mut [0; 64]);
    assert_eq!(seal(&mut device), Err(Error::BufferTooSmall));
    assert_eq!(stored(&mut device).len(), RECORDS);
    seal(&mut device).unwrap();
    assert_eq!(stored(&mut device), [key::counter(0, Tier::Exch)]);
}

//! Attack 9: metadata of a certificate in another encoding, which a second reader would take for something else.
//! (Parsers are fuzzed besides, `fuzz/`.)

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    certificate::{Certificate, Issue, issue},
    secret::Secret,
};
use pack::{app::Party, pdu};

pub const ATTACK: Attack = Attack {
    number: 9,
    name: "two-encodings",
    attacker: "an authority whose encoder is careless, or lies about what it signed",
    defence: Defence::OneEncoding,
    run,
};

/// Other encodings of what `clear` says, and of nearly that.
fn variants(clear: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    assert_eq!(clear[..4], [0xA6, 0x01, 0xA6, 0x01], "a map of six, its first value a map of six");
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    vec![
        ("a key of two bytes", with(&[0xA6, 0x18, 0x01], &clear[2..])),
        ("a count of two bytes", with(&[0xB8, 0x06], &clear[1..])),
        ("an inner key of three bytes", with(&[0xA6, 0x01, 0xA6, 0x19, 0x00, 0x01], &clear[4..])),
        ("a map without an end", with(&[0xBF], &[&clear[1..], &[0xFF]].concat())),
        ("a key twice", with(&[0xA7], &[&clear[1..], &clear[clear.len() - 2..]].concat())),
        ("a key more", with(&[0xA7], &[&clear[1..], &[0x07, 0x00]].concat())),
        ("a byte behind", with(clear, &[0x00])),
        ("text", b"{\"pairing_id\": 1}".to_vec()),
    ]
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    let first = f.w.certificate(APP, PACK);
    let honest = Certificate::parse(&first).unwrap();
    for (name, clear) in variants(honest.clear_metadata) {
        let before = f.w.app.relation().session().map(|s| *s.th4());
        let [half_a, half_b, xk] = [(); 3].map(|()| Secret::<32>::random(&mut f.w.rng));
        let spks = [f.w.spk_of(APP, PACK), f.w.spk_of(PACK, APP)];
        let authority = f.w.authority.spk.public();
        let what = Issue {
            pairing_id: honest.pairing_id,
            clear_metadata: &clear,
            spk_a: &spks[0],
            spk_b: &spks[1],
            spk_authority: &authority,
            key: f.w.authority.spk.signing_key(),
            half_a: &half_a,
            half_b: &half_b,
            exchange_key: &xk,
            validation_nonce: &[9; 32],
            endpoint: "http://127.0.0.1/api/v1/pairings",
            timeout_s: 3600,
        };
        let bytes = issue(&what, &mut f.w.rng).unwrap();
        let message = [&[pdu::CERTIFICATE], bytes.as_slice()].concat();
        for party in [Some(Party::Pack), None] {
            f.w.give(party, &message);
            f.w.run_for(700);
        }
        let paired = f.w.app.relation().session().map(|s| *s.th4()) != before;
        tally.attempt(paired, || format!("metadata with {name} paired"));
    }
    f.judge(tally);
}

//! HPKE: RFC 9180's published file, through the suite that [`lct::spk`] uses.
//!
//! The product seals single shots in base mode with empty additional data; the file has all four modes and 257
//! messages per context. They are run here through the same types.

use crate::{covered, files::text};
use hpke::{Deserializable, Kem, OpModeR, PskBundle, aead::AeadTag, setup_receiver};
use lct::spk::{HpkeAead, HpkeKdf, HpkeKem};
use serde_json::Value;

fn bytes(v: &Value, name: &str) -> Vec<u8> {
    hex::decode(v[name].as_str().unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

#[test]
fn rfc_9180() {
    let Some(text) = text("HPKE/test-vectors.json") else { return };
    let all: Value = serde_json::from_str(&text).unwrap();
    let ours =
        all.as_array().unwrap().iter().filter(|v| v["kem_id"] == 16 && v["kdf_id"] == 1 && v["aead_id"] == 2);
    let (mut modes, mut opened, mut exported, mut refused) = (Vec::new(), 0, 0, 0);
    for v in ours {
        let point = |name| <HpkeKem as Kem>::PublicKey::from_bytes(&bytes(v, name)).unwrap();
        let (psk, psk_id) = match v["psk"] {
            Value::Null => (Vec::new(), Vec::new()),
            _ => (bytes(v, "psk"), bytes(v, "psk_id")),
        };
        let mode = match v["mode"].as_u64().unwrap() {
            0 => OpModeR::<HpkeKem>::Base,
            1 => OpModeR::Psk(PskBundle::new(&psk, &psk_id).unwrap()),
            2 => OpModeR::Auth(point("pkSm")),
            3 => OpModeR::AuthPsk(point("pkSm"), PskBundle::new(&psk, &psk_id).unwrap()),
            other => panic!("mode {other}"),
        };
        modes.push(v["mode"].as_u64().unwrap());
        let secret = <HpkeKem as Kem>::PrivateKey::from_bytes(&bytes(v, "skRm")).unwrap();
        let enc = <HpkeKem as Kem>::EncappedKey::from_bytes(&bytes(v, "enc")).unwrap();
        let info = bytes(v, "info");
        let context = || setup_receiver::<HpkeAead, HpkeKdf, HpkeKem>(&mode, &secret, &enc, &info).unwrap();
        let mut receiver = context();
        for message in v["encryptions"].as_array().unwrap() {
            let sealed = bytes(message, "ct");
            let (text, tag) = sealed.split_last_chunk::<16>().unwrap();
            let tag = AeadTag::<HpkeAead>::from_bytes(tag).unwrap();
            let (mut text, mut damaged) = (text.to_vec(), text.to_vec());
            let aad = bytes(message, "aad");
            if opened % 257 == 0 {
                damaged[0] ^= 1;
                assert!(context().open_inout_detached(damaged.as_mut_slice().into(), &aad, &tag).is_err());
                refused += 1;
            }
            receiver.open_inout_detached(text.as_mut_slice().into(), &aad, &tag).unwrap();
            assert_eq!(text, bytes(message, "pt"));
            opened += 1;
        }
        for export in v["exports"].as_array().unwrap() {
            let mut out = vec![0; export["L"].as_u64().unwrap() as usize];
            receiver.export(&bytes(export, "exporter_context"), &mut out).unwrap();
            assert_eq!(out, bytes(export, "exported_value"));
            exported += 1;
        }
    }
    assert_eq!((modes, opened, exported, refused), (vec![0, 1, 2, 3], 1028, 12, 4));
    covered(format_args!(
        "RFC 9180, P-256 / HKDF-SHA256 / AES-256-GCM: 1028 of 1028 opened, 12 of 12 exported"
    ));
}

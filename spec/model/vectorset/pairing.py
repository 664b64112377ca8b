"""A pairing certificate with whole metadata, the run under it, and what stands afterwards."""

from __future__ import annotations

from securelink import certificate, handshake
from securelink.primitives import sha256, sign

from .inputs import Cast, Tree, run_tree, shown


def groups(cast: Cast) -> dict[str, Tree]:
    cert = cast.certificate
    run = cast.pair_run
    whole = cert.bytes
    complete = certificate.completion_message(cert.pairing_id, cert.validation_nonce, sha256(whole), run.th4)
    resume = handshake.Resume(
        run.channel_id,
        0,
        run.master,
        cast.i.boot_a + 1,
        cast.i.boot_b + 1,
        cast.i.nonce_b,
        cast.i.nonce_a,
    )
    out = {
        "cert": {
            "clear_metadata": cert.metadata,
            "cm_hash": cert.metadata_hash,
            "info_A": cert.info(certificate.TAG_A),
            "info_B": cert.info(certificate.TAG_B),
            "token": cert.token,
            "cert": whole,
            "cert_hash": sha256(whole),
        },
        "handshake_pair": run_tree(run, cast.policy_hash, cast.i.salt),
        "completion": {
            "message": complete,
            "sigA": sign(cast.a.sign_scalar, complete),
            "sigB": sign(cast.b.sign_scalar, complete),
        },
        "resume": {
            "source": "handshake_pair",
            "boot_ctr_A": resume.boot_a,
            "boot_ctr_B": resume.boot_b,
            "nA": resume.nonce_a,
            "nB": resume.nonce_b,
            "epoch": 0,
            "M1": resume.m1,
            "M2": resume.m2,
            "M3": resume.m3,
            "MS1": resume.next_master,
        },
    }
    return shown(out)  # type: ignore[no-any-return]

//! What is said of components, LCTs and pairings beyond their making (L131 to L159): bodies of the kinds 32 to 41.

use lct::revocation::Reason;

use super::*;
use crate::{
    authorization::MAX_RULE,
    records::registry::{AuthorizationId, QueueId},
};

/// What an owner has recorded under commitments (L138); the sender is the holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Form 1: a component.
    Register {
        /// Commitment to its id.
        component: Digest,
        /// Commitment to its manufacturer's id.
        manufacturer: Digest,
        /// Commitment to its type.
        category: Digest,
    },
    /// Form 2: a component lets itself be paired with another.
    Authorize {
        /// Who lets.
        a: Digest,
        /// Whom.
        b: Digest,
        /// Commitment to the rule.
        rule: Digest,
        /// `records::registry::Level` code.
        level: u8,
        /// Least trust of the partner, ppm.
        trust_ppm: u32,
    },
    /// Form 3: something is withdrawn.
    Revoke {
        /// `records::registry::RevocationScope` code.
        scope: u8,
        /// What; `anonymous::EVERYTHING` for all.
        target: Digest,
        /// `anonymous::Urgency` code.
        urgency: u8,
        /// 1 safety, 2 security, 3 other.
        category: u8,
    },
    /// Form 4: one commitment is opened.
    Open {
        /// `lct::commitment::Field` code.
        field: u8,
        /// The component, or for a rule the authorisation, where the commitment stands.
        id: Digest,
        /// What opens it.
        opening: Digest,
        /// To what.
        value: String,
    },
}

/// A body of one of the kinds 32 to 41.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// A component goes into another state (L132).
    Move {
        /// `lct::lifecycle::Move` bytes.
        statement: Vec<u8>,
        /// Who says so: an authority, the owner or the manufacturer.
        key: PublicKey,
        /// Its signature.
        signature: Signature,
    },
    /// A component tells what it is built of and runs (L134).
    Version {
        /// `lct::lifecycle::Version` bytes.
        statement: Vec<u8>,
        /// By the component's identity key.
        signature: Signature,
        /// Who vouches for it, and its signature over the same digest.
        vouched: Option<(PublicKey, Signature)>,
    },
    /// A component lets itself be paired with another, for a day (L136).
    Grant {
        /// Who lets.
        a: Cid,
        /// Whom.
        b: Cid,
        /// For what.
        context: String,
        /// `records::registry::Level` code.
        level: u8,
        /// What the partner's trust must meet, `authorization::Rule` as text.
        rule: String,
    },
    /// An authorisation is taken back (L137).
    RevokeGrant {
        /// Which.
        id: AuthorizationId,
        /// Why.
        reason: Reason,
    },
    /// Something is recorded without saying what it is (L138).
    Anonymous(Anonymous),
    /// A relationship LCT gets another status (L142).
    LctStatus {
        /// Which.
        id: Digest,
        /// `records::LctStatus` code.
        status: u8,
        /// Why.
        reason: Reason,
    },
    /// Something is stated in the context of an LCT (L144).
    Context {
        /// `lct::context::Statement` bytes.
        statement: Vec<u8>,
        /// Who states it.
        key: PublicKey,
        /// Its signature.
        signature: Signature,
    },
    /// A wish waits for a device (L151).
    Queue {
        /// Who asks.
        initiator: Cid,
        /// With whom.
        target: Cid,
        /// `records::registry::Wish` code.
        wish: u8,
        /// 1 low, 2 normal, 3 high, 4 critical.
        priority: u8,
        /// Who asks in the initiator's place; `records::registry::NO_PROXY` for nobody.
        proxy: Cid,
        /// What the pairing is for.
        context: String,
    },
    /// What waits for a component is tried (L152).
    Process {
        /// The component.
        cid: Cid,
    },
    /// A wish is taken back (L153).
    Cancel {
        /// Which.
        id: QueueId,
        /// Why.
        reason: Reason,
    },
}

impl Registry {
    /// The kind of this body.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Move { .. } => Kind::ComponentMove,
            Self::Version { .. } => Kind::ComponentVersion,
            Self::Grant { .. } => Kind::AuthorizationGrant,
            Self::RevokeGrant { .. } => Kind::AuthorizationRevoke,
            Self::Anonymous(_) => Kind::Anonymous,
            Self::LctStatus { .. } => Kind::LctStatus,
            Self::Context { .. } => Kind::LctContext,
            Self::Queue { .. } => Kind::QueueRequest,
            Self::Process { .. } => Kind::QueueProcess,
            Self::Cancel { .. } => Kind::QueueCancel,
        }
    }

    /// Pairs of the map, version and kind counted.
    pub(super) fn pairs(&self) -> usize {
        match self {
            Self::Process { .. } => 3,
            Self::RevokeGrant { .. } | Self::Cancel { .. } => 4,
            Self::Move { .. } | Self::Version { .. } | Self::LctStatus { .. } | Self::Context { .. } => 5,
            Self::Grant { .. } => 7,
            Self::Queue { .. } => 8,
            Self::Anonymous(Anonymous::Register { .. }) => 6,
            Self::Anonymous(Anonymous::Revoke { .. } | Anonymous::Open { .. }) => 7,
            Self::Anonymous(Anonymous::Authorize { .. }) => 8,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        match self {
            Self::Move { statement, key, signature } | Self::Context { statement, key, signature } => {
                w.uint(2).bytes(statement).uint(3).bytes(&key.0).uint(4).bytes(&signature.0);
            }
            Self::Version { statement, signature, vouched } => {
                w.uint(2).bytes(statement).uint(3).bytes(&signature.0).uint(4);
                match vouched {
                    None => w.array(0),
                    Some((key, signature)) => w.array(2).bytes(&key.0).bytes(&signature.0),
                };
            }
            Self::Grant { a, b, context, level, rule } => {
                w.uint(2).bytes(&a.0).uint(3).bytes(&b.0).uint(4).text(context);
                w.uint(5).uint((*level).into()).uint(6).text(rule);
            }
            Self::RevokeGrant { id: AuthorizationId(id), reason }
            | Self::Cancel { id: QueueId(id), reason } => {
                w.uint(2).bytes(id).uint(3).uint(*reason as u64);
            }
            Self::Anonymous(entry) => entry.write(w),
            Self::LctStatus { id, status, reason } => {
                w.uint(2).bytes(id).uint(3).uint((*status).into()).uint(4).uint(*reason as u64);
            }
            Self::Queue { initiator, target, wish, priority, proxy, context } => {
                w.uint(2).bytes(&initiator.0).uint(3).bytes(&target.0).uint(4).uint((*wish).into());
                w.uint(5).uint((*priority).into()).uint(6).bytes(&proxy.0).uint(7).text(context);
            }
            Self::Process { cid } => {
                w.uint(2).bytes(&cid.0);
            }
        }
    }

    pub(super) fn read(kind: u64, pairs: u64, r: &mut Reader<'_>) -> Result<Self, FormatError> {
        match (kind, pairs) {
            (32, 5) => Ok(Self::Move {
                statement: statement(r, 2)?,
                key: PublicKey(fixed(r, 3)?),
                signature: Signature(fixed(r, 4)?),
            }),
            (33, 5) => Ok(Self::Version {
                statement: statement(r, 2)?,
                signature: Signature(fixed(r, 3)?),
                vouched: {
                    r.key(4)?;
                    match r.array(2)? {
                        0 => None,
                        2 => Some((PublicKey(r.fixed()?), Signature(r.fixed()?))),
                        _ => return Err(FormatError::Unexpected),
                    }
                },
            }),
            (34, 7) => {
                let (a, b, context) = (Cid(fixed(r, 2)?), Cid(fixed(r, 3)?), text(r, 4, MAX_CONTEXT)?);
                Ok(Self::Grant { a, b, context, level: int(r, 5)?, rule: text(r, 6, MAX_RULE)? })
            }
            (35, 4) => Ok(Self::RevokeGrant { id: AuthorizationId(fixed(r, 2)?), reason: reason(r, 3)? }),
            (36, pairs) => Anonymous::read(pairs, r).map(Self::Anonymous),
            (37, 5) => Ok(Self::LctStatus { id: fixed(r, 2)?, status: int(r, 3)?, reason: reason(r, 4)? }),
            (38, 5) => Ok(Self::Context {
                statement: statement(r, 2)?,
                key: PublicKey(fixed(r, 3)?),
                signature: Signature(fixed(r, 4)?),
            }),
            (39, 8) => Ok(Self::Queue {
                initiator: Cid(fixed(r, 2)?),
                target: Cid(fixed(r, 3)?),
                wish: int(r, 4)?,
                priority: int(r, 5)?,
                proxy: Cid(fixed(r, 6)?),
                context: text(r, 7, MAX_CONTEXT)?,
            }),
            (40, 3) => Ok(Self::Process { cid: Cid(fixed(r, 2)?) }),
            (41, 4) => Ok(Self::Cancel { id: QueueId(fixed(r, 2)?), reason: reason(r, 3)? }),
            _ => Err(FormatError::Unexpected),
        }
    }
}

impl Anonymous {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Register { component, manufacturer, category } => {
                w.uint(2)
                    .uint(1)
                    .uint(3)
                    .bytes(component)
                    .uint(4)
                    .bytes(manufacturer)
                    .uint(5)
                    .bytes(category);
            }
            Self::Authorize { a, b, rule, level, trust_ppm } => {
                w.uint(2).uint(2).uint(3).bytes(a).uint(4).bytes(b).uint(5).bytes(rule);
                w.uint(6).uint((*level).into()).uint(7).uint((*trust_ppm).into());
            }
            Self::Revoke { scope, target, urgency, category } => {
                w.uint(2).uint(3).uint(3).uint((*scope).into()).uint(4).bytes(target);
                w.uint(5).uint((*urgency).into()).uint(6).uint((*category).into());
            }
            Self::Open { field, id, opening, value } => {
                w.uint(2).uint(4).uint(3).uint((*field).into()).uint(4).bytes(id);
                w.uint(5).bytes(opening).uint(6).text(value);
            }
        }
    }

    fn read(pairs: u64, r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.key(2)?;
        match (r.uint()?, pairs) {
            (1, 6) => Ok(Self::Register {
                component: fixed(r, 3)?,
                manufacturer: fixed(r, 4)?,
                category: fixed(r, 5)?,
            }),
            (2, 8) => Ok(Self::Authorize {
                a: fixed(r, 3)?,
                b: fixed(r, 4)?,
                rule: fixed(r, 5)?,
                level: int(r, 6)?,
                trust_ppm: int(r, 7)?,
            }),
            (3, 7) => Ok(Self::Revoke {
                scope: int(r, 3)?,
                target: fixed(r, 4)?,
                urgency: int(r, 5)?,
                category: int(r, 6)?,
            }),
            (4, 7) => Ok(Self::Open {
                field: int(r, 3)?,
                id: fixed(r, 4)?,
                opening: fixed(r, 5)?,
                value: text(r, 6, MAX_RULE)?,
            }),
            _ => Err(FormatError::Unexpected),
        }
    }
}

fn text(r: &mut Reader<'_>, key: u64, max: usize) -> Result<String, FormatError> {
    r.key(key)?;
    Ok(r.text(max)?.into())
}

fn reason(r: &mut Reader<'_>, key: u64) -> Result<Reason, FormatError> {
    Reason::from_code(int(r, key)?).map_err(|_| FormatError::Unexpected)
}

//! What a creator has recorded under keyed commitments (`spec/ledger.md`, L138 to L140). The secret that keys them is the
//! creator's, held in the bridge's key file; the ledger learns nothing of what stands behind a hash. Reads are reads and
//! send no transaction.

use ::lct::{
    Digest,
    commitment::{Field, commit},
};
use api::problem::code;
use ledger::{
    anonymous::{EVERYTHING, Urgency, pair_id},
    authorization::Rule,
    records::registry::{Level, RevocationScope},
    tx::{Body, Registry, registry::Anonymous},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    hash, required,
};
use crate::{
    authority::find_tx,
    refusal::{Refusal, Reply},
};

/// Registers a component without saying which.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RegisterAnonymousRequest {
    /// Who asks, and whose secret keys the commitments.
    pub creator: String,
    /// The component's id; it does not leave the bridge.
    pub real_component_id: String,
    /// Its manufacturer; it does not leave the bridge.
    pub manufacturer_id: String,
    /// What it is; it does not leave the bridge.
    pub component_type: String,
    /// What for; echoed.
    pub context: String,
}

/// A component that was registered under commitments.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisterAnonymousResponse {
    /// Commitment to its id.
    pub component_hash: String,
    /// To its manufacturer.
    pub manufacturer_hash: String,
    /// To its type.
    pub category_hash: String,
    /// `active`.
    pub status: String,
    /// What vouches for it: the transaction.
    pub trust_anchor: String,
    /// Who asked.
    pub creator: String,
    /// What for.
    pub context: String,
    /// Transaction.
    pub txhash: String,
    /// When.
    pub timestamp: i64,
}

/// Asks whether two committed components may be paired.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifyPairingHashesRequest {
    /// Who asks.
    pub creator: String,
    /// Who would let itself be paired.
    pub component_hash_a: String,
    /// With whom.
    pub component_hash_b: String,
    /// What for; echoed.
    pub context: String,
}

/// Whether two committed components may be paired.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifyPairingHashesResponse {
    /// Whether.
    pub can_pair: bool,
    /// Why not; `authorized` otherwise.
    pub reason: String,
    /// How far the other one is trusted, as text; `unknown` until its commitment was opened and it was judged.
    pub trust_score: String,
    /// Who would let itself be paired.
    pub component_hash_a: String,
    /// With whom.
    pub component_hash_b: String,
    /// What for.
    pub context: String,
    /// `active`: the question was answered.
    pub status: String,
    /// Transaction that registered the first one.
    pub txhash: String,
    /// At which time.
    pub timestamp: i64,
}

/// Lets a committed component be paired with another one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuthorizeAnonymousRequest {
    /// Who asks, and who registered the first component.
    pub creator: String,
    /// Who lets.
    pub component_hash_a: String,
    /// Whom.
    pub component_hash_b: String,
    /// Commitment to the rule, 64 hexadecimal digits; another text is a rule, to which the bridge commits.
    pub rule_hash: String,
    /// Least trust, `0.7`; the level's where it is left out.
    pub trust_score_requirement: String,
    /// `basic` (default), `enhanced` or `critical`.
    pub authorization_level: String,
    /// What for; echoed.
    pub context: String,
}

/// An anonymous authorisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuthorizeAnonymousResponse {
    /// Its identity.
    pub authorization_id: String,
    /// `active`.
    pub status: String,
    /// When it ends, `YYYY-MM-DDTHH:MM:SSZ`.
    pub expires_at: String,
    /// Who lets.
    pub component_hash_a: String,
    /// Whom.
    pub component_hash_b: String,
    /// What for.
    pub context: String,
    /// Transaction.
    pub txhash: String,
    /// When.
    pub timestamp: i64,
}

/// Withdraws something that was recorded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RevokeAnonymousRequest {
    /// Who asks, and who had it recorded.
    pub creator: String,
    /// The commitment, or an authorisation; left out of `BLANKET`.
    pub target_hash: String,
    /// `INDIVIDUAL` (default), `PATTERN` or `BLANKET`.
    pub revocation_type: String,
    /// `IMMEDIATE`, `URGENT` or `STANDARD` (default); `HIGH` and `CRITICAL` are `IMMEDIATE`.
    pub urgency_level: String,
    /// `SAFETY..`, `SECURITY..`, or anything else.
    pub reason_category: String,
    /// Why, as some clients call it.
    pub reason: String,
    /// What for; echoed.
    pub context: String,
}

/// What was withdrawn.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokeAnonymousResponse {
    /// Its identity.
    pub revocation_id: String,
    /// `revoked`.
    pub status: String,
    /// From when, `YYYY-MM-DDTHH:MM:SSZ`.
    pub effective_at: String,
    /// What.
    pub target_hash: String,
    /// The same, as some clients call it.
    pub component_hash: String,
    /// Why.
    pub reason: String,
    /// What for.
    pub context: String,
    /// Transaction.
    pub txhash: String,
    /// When.
    pub timestamp: i64,
}

/// Asks what is known of a committed component.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MetadataRequest {
    /// Who asks.
    pub creator: String,
    /// The commitment.
    pub hash: String,
}

/// What is known of a committed component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MetadataResponse {
    /// The commitment.
    pub component_hash: String,
    /// Its type, once that was opened; `committed` before.
    #[serde(rename = "type")]
    pub kind: String,
    /// `active` or `withdrawn`.
    pub status: String,
    /// The same.
    pub state: String,
    /// What vouches for it: the transaction that registered it.
    pub trust_anchor: String,
    /// When it was registered.
    pub last_verified: i64,
    /// The same as JSON in a text, as some clients read it.
    pub metadata: String,
    /// Transaction that registered it.
    pub txhash: String,
    /// At which time.
    pub timestamp: i64,
}

fn digest(field: &str, text: &str) -> Reply<Digest> {
    required(field, text)?
        .parse::<api::Hex<32>>()
        .map(|hash| hash.0)
        .map_err(|_| Refusal::format(format!("{field}: 64 hexadecimal digits")))
}

fn not_found() -> Refusal {
    Refusal::new(404, code::COMMITMENT_NOT_FOUND, "nothing stands under this commitment")
}

/// Registers a component under commitments.
pub(crate) async fn register(ctx: Ctx, rq: RegisterAnonymousRequest) -> Reply<RegisterAnonymousResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let secret = ctx.commitments(&creator)?;
    let commit = |field, name, value: &str| -> Reply<Digest> {
        Ok(commit(&secret, field, required(name, value)?.as_bytes()))
    };
    let component = commit(Field::Component, "real_component_id", &rq.real_component_id)?;
    let manufacturer = commit(Field::Manufacturer, "manufacturer_id", &rq.manufacturer_id)?;
    let category = commit(Field::Category, "component_type", &rq.component_type)?;
    let entry = Anonymous::Register { component, manufacturer, category };
    let tx = ctx.send(&creator, Body::Registry(Registry::Anonymous(entry))).await?;
    Ok(RegisterAnonymousResponse {
        component_hash: hex::encode(component),
        manufacturer_hash: hex::encode(manufacturer),
        category_hash: hex::encode(category),
        status: "active".into(),
        trust_anchor: hash(&tx),
        creator: creator.name,
        context: rq.context,
        txhash: hash(&tx),
        timestamp: ctx.app.now_s().cast_signed(),
    })
}

/// The transaction that registered a commitment; empty when its block is not kept any more.
fn registered_by(snapshot: &node::Snapshot<'_>, component: &Digest, height: u64) -> Reply<String> {
    let is = |body: &Body| matches!(body, Body::Registry(Registry::Anonymous(Anonymous::Register { component: c, .. })) if c == component);
    let found = find_tx(snapshot, height, is)?;
    Ok(found.map(|(tx, _)| hash(&tx)).unwrap_or_default())
}

/// Whether two committed components may be paired, and if not, why.
pub(crate) async fn verify(ctx: Ctx, rq: VerifyPairingHashesRequest) -> Reply<VerifyPairingHashesResponse> {
    crate::extract::label("creator", required("creator", &rq.creator)?)?;
    let a = digest("component_hash_a", &rq.component_hash_a)?;
    let b = digest("component_hash_b", &rq.component_hash_b)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let (first, _) = snapshot.anonymous(&a)?.ok_or_else(not_found)?;
        snapshot.anonymous(&b)?.ok_or_else(not_found)?;
        let (trust_ppm, answer) = snapshot.anonymously_authorized([&a, &b])?;
        Ok(VerifyPairingHashesResponse {
            can_pair: answer.is_ok(),
            reason: answer.as_ref().err().map_or("authorized", |why| why.text()).into(),
            trust_score: trust_ppm.map_or("unknown".into(), |ppm| format!("{:.6}", super::ratio(ppm))),
            component_hash_a: hex::encode(a),
            component_hash_b: hex::encode(b),
            context: rq.context,
            status: "active".into(),
            txhash: registered_by(&snapshot, &a, first.height)?,
            timestamp: (snapshot.tip().time_ms / 1000).cast_signed(),
        })
    };
    ctx.app.blocking(read).await
}

/// `0.7` as parts per million, read as the ledger reads rules.
fn ppm(text: &str) -> Option<u32> {
    let rule = Rule::parse(&format!("trust_score >= {text}"))?;
    if let [condition] = rule.0[..] { Some(condition.ppm) } else { None }
}

/// Lets a committed component be paired with another one.
pub(crate) async fn authorize(ctx: Ctx, rq: AuthorizeAnonymousRequest) -> Reply<AuthorizeAnonymousResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let a = digest("component_hash_a", &rq.component_hash_a)?;
    let b = digest("component_hash_b", &rq.component_hash_b)?;
    let rule = match rq.rule_hash.parse::<api::Hex<32>>() {
        Ok(hash) => hash.0,
        Err(_) => commit(&ctx.commitments(&creator)?, Field::Rule, rq.rule_hash.as_bytes()),
    };
    let level = match rq.authorization_level.as_str() {
        "" => Level::Basic,
        name => [Level::Basic, Level::Enhanced, Level::Critical]
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| Refusal::format("authorization_level: `basic`, `enhanced` or `critical`"))?,
    };
    let trust_ppm = match rq.trust_score_requirement.as_str() {
        "" => level.least_trust_ppm(),
        text => ppm(text)
            .ok_or_else(|| Refusal::format("trust_score_requirement: 0 to 1 with at most six places"))?,
    };
    let entry = Anonymous::Authorize { a, b, rule, level: level as u8, trust_ppm };
    let tx = ctx.send(&creator, Body::Registry(Registry::Anonymous(entry))).await?;
    let of = pair_id(&ctx.app.chain.chain_id(), &a, &b);
    let read = move |chain: &node::Chain| Ok(chain.read()?.anonymous_authorization(&of)?);
    let granted = ctx.app.blocking(read).await?;
    let granted =
        granted.ok_or_else(|| Refusal::internal(&"an included authorization is not in the state"))?;
    Ok(AuthorizeAnonymousResponse {
        authorization_id: id("auth", &of),
        status: "active".into(),
        expires_at: api::event::rfc3339(granted.expires_ms / 1000),
        component_hash_a: hex::encode(a),
        component_hash_b: hex::encode(b),
        context: rq.context,
        txhash: hash(&tx),
        timestamp: ctx.app.now_s().cast_signed(),
    })
}

/// Withdraws a committed component or authorisation, a pattern of them, or all.
pub(crate) async fn revoke(ctx: Ctx, rq: RevokeAnonymousRequest) -> Reply<RevokeAnonymousResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let scope = match rq.revocation_type.to_uppercase().as_str() {
        "" | "INDIVIDUAL" => RevocationScope::Individual,
        "PATTERN" => RevocationScope::Pattern,
        "BLANKET" => RevocationScope::Blanket,
        _ => return Err(Refusal::format("revocation_type: `INDIVIDUAL`, `PATTERN` or `BLANKET`")),
    };
    let urgency = match rq.urgency_level.to_uppercase().as_str() {
        "IMMEDIATE" | "HIGH" | "CRITICAL" => Urgency::Immediate,
        "URGENT" | "MEDIUM" => Urgency::Urgent,
        "" | "STANDARD" | "LOW" => Urgency::Standard,
        _ => return Err(Refusal::format("urgency_level: `IMMEDIATE`, `URGENT` or `STANDARD`")),
    };
    let reason = if rq.reason_category.is_empty() { rq.reason } else { rq.reason_category };
    let category = match reason.to_uppercase() {
        r if r.starts_with("SAFETY") => 1,
        r if r.starts_with("SECURITY") => 2,
        _ => 3,
    };
    let target = match (scope, parse::<32>("target_hash", "auth", &rq.target_hash)) {
        (RevocationScope::Blanket, _) => EVERYTHING,
        (_, Ok(target)) => target,
        (_, Err(_)) => digest("target_hash", &rq.target_hash)?,
    };
    let entry = Anonymous::Revoke { scope: scope as u8, target, urgency: urgency as u8, category };
    let tx = ctx.send(&creator, Body::Registry(Registry::Anonymous(entry))).await?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let height = snapshot.tx(&tx)?.map(|t| t.height);
        let block = height.map(|height| snapshot.block(height)).transpose()?.flatten();
        block
            .map(|b| b.header.time_ms)
            .ok_or_else(|| Refusal::internal(&"an included transaction is in no block"))
    };
    let at_ms = ctx.app.blocking(read).await?;
    Ok(RevokeAnonymousResponse {
        revocation_id: id("revocation", &tx),
        status: "revoked".into(),
        effective_at: api::event::rfc3339(at_ms.saturating_add(urgency.delay_ms()) / 1000),
        target_hash: hex::encode(target),
        component_hash: hex::encode(target),
        reason,
        context: rq.context,
        txhash: hash(&tx),
        timestamp: (at_ms / 1000).cast_signed(),
    })
}

/// What is known of a committed component.
pub(crate) async fn metadata(ctx: Ctx, rq: MetadataRequest) -> Reply<MetadataResponse> {
    let component = digest("hash", &rq.hash)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let (found, withdrawn) = snapshot.anonymous(&component)?.ok_or_else(not_found)?;
        let kind = snapshot.opened(&found.category)?.map_or("committed".into(), |opened| opened.value);
        let state = if withdrawn { "withdrawn" } else { "active" };
        let tx = registered_by(&snapshot, &component, found.height)?;
        let told = serde_json::json!({
            "type": kind,
            "manufacturer_hash": hex::encode(found.manufacturer),
            "category_hash": hex::encode(found.category),
        });
        Ok(MetadataResponse {
            component_hash: hex::encode(component),
            kind,
            status: state.into(),
            state: state.into(),
            trust_anchor: tx.clone(),
            last_verified: (found.time_ms / 1000).cast_signed(),
            metadata: told.to_string(),
            txhash: tx,
            timestamp: (snapshot.tip().time_ms / 1000).cast_signed(),
        })
    };
    ctx.app.blocking(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_750_000_000, "2025-06-15T15:06:40Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(api::event::rfc3339(unix), text);
        }
    }

    #[test]
    fn requirements_are_read_exactly() {
        assert_eq!(ppm("0.7"), Some(700_000));
        assert_eq!(ppm("1"), Some(1_000_000));
        for bad in ["", "2", "0.7 and trust_score > 0.1", "seven", "0.7777777"] {
            assert_eq!(ppm(bad), None, "{bad}");
        }
    }
}

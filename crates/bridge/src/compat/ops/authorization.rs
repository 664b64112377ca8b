//! Who lets itself be paired with whom (`spec/ledger.md`, L135 to L137). An authorisation speaks for `component_a`, and is
//! given by an account that has a say over it.

use ::lct::{id::Cid, revocation::Reason};
use api::problem::code;
use ledger::{
    authorization::{Comparison, Rule, id_of},
    records::registry::{Authorization as Held, AuthorizationId, Level},
    tx::{Body, Registry},
};
use node::Snapshot;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    Page, context, hash, known, ratio, required,
};
use crate::refusal::{Refusal, Reply};

/// `CreatePairingAuthorization`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreatePairingAuthorizationRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Who lets itself be paired.
    pub component_a: String,
    /// With whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// `trust_score > 0.7 and ..`; empty asks for no more than the level.
    pub authorization_rules: String,
    /// `basic` (default), `enhanced` or `critical`.
    pub authorization_level: String,
}

/// An authorisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Authorization {
    /// Its identity.
    pub authorization_id: String,
    /// Who lets.
    pub component_a: String,
    /// Whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// What the partner's trust must meet.
    pub authorization_rules: String,
    /// How much else is asked of it.
    pub authorization_level: String,
    /// `active`, `revoked` or `expired`.
    pub status: String,
    /// The same.
    pub state: String,
    /// When it was given last.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

/// An authorisation that was given, or given anew.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuthorizationResponse {
    /// Which.
    #[serde(flatten)]
    pub authorization: Authorization,
    /// When.
    pub updated_at: i64,
    /// Transaction.
    pub txhash: String,
}

/// `GetComponentAuthorizations`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetComponentAuthorizationsRequest {
    /// Whose.
    pub component_id: String,
    /// How many to leave out.
    pub offset: String,
    /// How many at most, 1 to 100.
    pub limit: String,
}

/// What a component allows.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetComponentAuthorizationsResponse {
    /// Whose.
    pub component_id: String,
    /// Those in force.
    pub authorizations: Vec<Authorization>,
    /// How many in all.
    pub count: i32,
}

/// `UpdateAuthorization`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateAuthorizationRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Which.
    pub authorization_id: String,
    /// Must be as it is: another one is another authorisation.
    pub operational_context: String,
    /// What the partner's trust must meet from now on; left out as before.
    pub authorization_rules: Option<String>,
    /// `active` gives it anew, `revoked` takes it back.
    pub status: String,
}

/// `RevokeAuthorization`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RevokeAuthorizationRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Which.
    pub authorization_id: String,
    /// Why.
    pub reason: String,
}

/// An authorisation that was taken back.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokeAuthorizationResponse {
    /// Which.
    pub authorization_id: String,
    /// `revoked`.
    pub status: String,
    /// Why.
    pub reason: String,
    /// When.
    pub revoked_at: i64,
    /// Transaction.
    pub txhash: String,
}

/// `CheckPairingAuthorization`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CheckPairingAuthorizationRequest {
    /// Who would let itself be paired.
    pub component_a: String,
    /// With whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
}

/// Whether one lets itself be paired with another.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckPairingAuthorizationResponse {
    /// Whether.
    pub authorized: bool,
    /// The authorisation; empty where there is none.
    pub authorization_id: String,
    /// Who.
    pub component_a: String,
    /// With whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// How far the other one is trusted; absent where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_score: Option<f64>,
    /// `verified`, or why not.
    pub verification_status: String,
    /// `active`: the question was answered.
    pub status: String,
    /// `authorized` or `not_authorized`.
    pub state: String,
    /// At which time.
    pub checked_at: i64,
    /// The same.
    pub created_at: i64,
}

fn decimal(ppm: u32) -> String {
    let text = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

fn rule_text(rule: &Rule) -> String {
    let one = |c: &ledger::authorization::Condition| {
        let sign = match c.comparison {
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
        };
        format!("trust_score {sign} {}", decimal(c.ppm))
    };
    rule.0.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn view(snapshot: &Snapshot<'_>, of: &AuthorizationId, held: &Held) -> Reply<Authorization> {
    let name = |cid: &Cid| crate::authority::component_id(snapshot, cid);
    let state = match held.status {
        ledger::records::Status::Revoked => "revoked",
        ledger::records::Status::Active if held.in_force(snapshot.tip().time_ms) => "active",
        ledger::records::Status::Active => "expired",
    };
    Ok(Authorization {
        authorization_id: id("auth", &of.0),
        component_a: name(&held.a)?,
        component_b: name(&held.b)?,
        operational_context: held.context.clone(),
        authorization_rules: rule_text(&held.rule),
        authorization_level: held.level.name().into(),
        status: state.into(),
        state: state.into(),
        created_at: (held.time_ms / 1000).cast_signed(),
        expires_at: (held.expires_ms / 1000).cast_signed(),
    })
}

fn level(name: &str) -> Reply<Level> {
    let all = [Level::Basic, Level::Enhanced, Level::Critical];
    match name {
        "" => Ok(Level::Basic),
        name => all
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| Refusal::format("authorization_level: `basic`, `enhanced` or `critical`")),
    }
}

async fn find(ctx: &Ctx, authorization_id: &str) -> Reply<(AuthorizationId, Held)> {
    let of = parse("authorization_id", "auth", required("authorization_id", authorization_id)?)?;
    let of = AuthorizationId(of);
    let held = ctx.app.blocking(move |chain| Ok(chain.read()?.authorization(&of)?)).await?;
    let held = held
        .ok_or_else(|| Refusal::new(404, code::AUTHORIZATION_NOT_FOUND, "there is no such authorization"))?;
    Ok((of, held))
}

async fn given(ctx: &Ctx, of: AuthorizationId, tx: ledger::tx::TxId) -> Reply<AuthorizationResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let held = snapshot.authorization(&of)?;
        let held = held.ok_or_else(|| Refusal::internal(&"an included authorization is not in the state"))?;
        let authorization = view(&snapshot, &of, &held)?;
        Ok(AuthorizationResponse { updated_at: authorization.created_at, authorization, txhash: hash(&tx) })
    };
    ctx.app.blocking(read).await
}

/// Lets a component be paired with another one.
pub(crate) async fn create(ctx: Ctx, rq: CreatePairingAuthorizationRequest) -> Reply<AuthorizationResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let level = level(&rq.authorization_level)? as u8;
    let (one, other) = (rq.component_a.clone(), rq.component_b.clone());
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        Ok((known(&snapshot, "component_a", &one)?, known(&snapshot, "component_b", &other)?))
    };
    let (a, b) = ctx.app.blocking(read).await?;
    let purpose = context(&rq.operational_context);
    let of = id_of(&ctx.app.chain.chain_id(), &a, &b, &purpose);
    let grant = Registry::Grant { a, b, context: purpose, level, rule: rq.authorization_rules };
    let tx = ctx.send(&creator, Body::Registry(grant)).await?;
    given(&ctx, of, tx).await
}

/// What a component allows.
pub(crate) async fn of_component(
    ctx: Ctx,
    rq: GetComponentAuthorizationsRequest,
) -> Reply<GetComponentAuthorizationsResponse> {
    let page = Page::read(&rq.offset, &rq.limit)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        let all = snapshot.authorizations_of(&cid)?;
        let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
        Ok(GetComponentAuthorizationsResponse {
            component_id: crate::authority::component_id(&snapshot, &cid)?,
            authorizations: page
                .of(all)
                .iter()
                .map(|(id, a)| view(&snapshot, id, a))
                .collect::<Reply<_>>()?,
            count,
        })
    };
    ctx.app.blocking(read).await
}

/// Gives an authorisation anew, with other rules if it says so; or takes it back.
pub(crate) async fn update(ctx: Ctx, rq: UpdateAuthorizationRequest) -> Reply<AuthorizationResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let (of, held) = find(&ctx, &rq.authorization_id).await?;
    if !rq.operational_context.is_empty() && context(&rq.operational_context) != held.context {
        return Err(Refusal::format(
            "operational_context: an authorization is for one; create another one for another",
        ));
    }
    let body = match rq.status.to_lowercase().as_str() {
        "" | "active" => Registry::Grant {
            a: held.a,
            b: held.b,
            rule: rq.authorization_rules.unwrap_or_else(|| rule_text(&held.rule)),
            context: held.context,
            level: held.level as u8,
        },
        "revoked" | "inactive" => Registry::RevokeGrant { id: of, reason: Reason::Unspecified },
        _ => return Err(Refusal::format("status: `active` or `revoked`")),
    };
    let tx = ctx.send(&creator, Body::Registry(body)).await?;
    given(&ctx, of, tx).await
}

/// Takes an authorisation back.
pub(crate) async fn revoke(ctx: Ctx, rq: RevokeAuthorizationRequest) -> Reply<RevokeAuthorizationResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let (of, _) = find(&ctx, &rq.authorization_id).await?;
    let body = Registry::RevokeGrant { id: of, reason: Reason::Unspecified };
    let tx = ctx.send(&creator, Body::Registry(body)).await?;
    Ok(RevokeAuthorizationResponse {
        authorization_id: id("auth", &of.0),
        status: "revoked".into(),
        reason: if rq.reason.is_empty() { "unspecified".into() } else { rq.reason },
        revoked_at: ctx.app.now_s().cast_signed(),
        txhash: hash(&tx),
    })
}

/// Whether one lets itself be paired with another, and if not, why.
pub(crate) async fn check(
    ctx: Ctx,
    rq: CheckPairingAuthorizationRequest,
) -> Reply<CheckPairingAuthorizationResponse> {
    let purpose = context(required("operational_context", &rq.operational_context)?);
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let (a, b) = (
            known(&snapshot, "component_a", &rq.component_a)?,
            known(&snapshot, "component_b", &rq.component_b)?,
        );
        let answer = snapshot.authorized([&a, &b], &purpose)?;
        let standings = snapshot.standings(&b)?;
        let operation = standings.iter().find(|(c, _)| *c == ::lct::trust::TrustContext::Operation);
        let at = (snapshot.tip().time_ms / 1000).cast_signed();
        let of = id_of(&snapshot.tip().chain_id, &a, &b, &purpose);
        let exists = snapshot.authorization(&of)?.is_some();
        Ok(CheckPairingAuthorizationResponse {
            authorized: answer.is_ok(),
            authorization_id: if exists { id("auth", &of.0) } else { String::new() },
            component_a: rq.component_a,
            component_b: rq.component_b,
            operational_context: rq.operational_context,
            trust_score: operation.map(|(_, s)| ratio(s.score.get())),
            verification_status: match &answer {
                Ok(_) => "verified".into(),
                Err(why) => why.text().into(),
            },
            status: "active".into(),
            state: if answer.is_ok() { "authorized" } else { "not_authorized" }.into(),
            checked_at: at,
            created_at: at,
        })
    };
    ctx.app.blocking(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authorisation that is given anew keeps the rule that it had.
    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "",
            "trust_score > 0.7",
            "trust_score >= 0.5 and trust_score < 0.999999",
            "trust_score <= 1",
            "trust_score < 0",
        ] {
            let rule = Rule::parse(text).unwrap();
            assert_eq!(rule_text(&rule), text);
        }
    }
}

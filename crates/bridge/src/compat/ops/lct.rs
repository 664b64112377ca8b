//! Linked context tokens of relationships.

use ::lct::{revocation::Reason, secret::Secret};
use api::{binding::Sides, lct::SealedHalf, problem::code};
use ledger::{
    records::LctStatus,
    tx::{Body, Registry},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    context, hash, required,
};
use crate::{
    entropy,
    refusal::{Refusal, Reply},
};

/// `CreateLCT`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateLctRequest {
    /// Who asks.
    pub creator: String,
    /// One component.
    pub component_a: String,
    /// The other; both are bound to each other.
    pub component_b: String,
    /// What the relationship is for.
    pub context: String,
    /// Who asks in another one's place; echoed.
    pub proxy_id: String,
}

/// A relationship that was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreateLctResponse {
    /// The LCT.
    pub lct_id: String,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What it is for.
    pub context: String,
    /// Echoed.
    pub proxy_id: String,
    /// `active`.
    pub status: String,
    /// Its status on the ledger.
    pub state: String,
    /// When.
    pub created_at: i64,
    /// Who asked.
    pub creator: String,
    /// Transaction that made it.
    pub txhash: String,
    /// Half of the pack, 64 hexadecimal digits; only with `--allow-clear-key-halves`, and only here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lct_key_half: String,
    /// Half of the app, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_key_half: String,
    /// The halves sealed to their devices, where they are not given in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_key_halves: Option<SealedHalves>,
}

/// Halves that only their devices open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SealedHalves {
    /// Of the LCT.
    pub lct: Sides<SealedHalf>,
    /// Of the devices.
    pub device: Sides<SealedHalf>,
}

/// `GetLCT`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetLctRequest {
    /// The LCT.
    pub lct_id: String,
}

/// What the ledger holds of an LCT.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetLctResponse {
    /// The LCT.
    pub lct_id: String,
    /// One component; of an entity's LCT both are the same.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What it is for.
    pub context: String,
    /// The same.
    pub operational_context: String,
    /// Who asked for it in another one's place.
    pub proxy_id: String,
    /// The same.
    pub proxy_component_id: String,
    /// `pending`, `active`, `suspended` or `terminated`.
    pub status: String,
    /// The same.
    pub state: String,
    /// The same.
    pub lct_status: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was made as well: the ledger has no time of a later status.
    pub updated_at: i64,
    /// Who asked.
    pub creator: String,
    /// Transaction that made it.
    pub txhash: String,
}

/// `UpdateLCTStatus`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateLctStatusRequest {
    /// Who asks; its account has a say over one of the two components.
    pub creator: String,
    /// The LCT.
    pub lct_id: String,
    /// `active`, `suspended` or `terminated`.
    pub status: String,
    /// What for.
    pub context: String,
}

/// An LCT in another status.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UpdateLctStatusResponse {
    /// The LCT.
    pub lct_id: String,
    /// Its status.
    pub status: String,
    /// The same.
    pub state: String,
    /// Time of the last block when it was done.
    pub updated_at: i64,
    /// Transaction that changed it.
    pub txhash: String,
}

/// What was said when an LCT was made through an old call.
#[derive(Default, Serialize, Deserialize)]
struct Said {
    creator: String,
    proxy_id: String,
    txhash: String,
}

fn said_of(lct: &[u8; 32]) -> String {
    format!("lct/{}", hex::encode(lct))
}

/// Two halves in clear, which are kept nowhere.
fn clear_halves() -> Reply<[String; 2]> {
    let drawn = entropy::with(|rng| [(); 2].map(|()| Secret::<32>::random(rng)))?;
    Ok(drawn.map(|half| hex::encode(half.expose())))
}

/// Makes the LCT of two bound components.
pub(crate) async fn create(ctx: Ctx, rq: CreateLctRequest) -> Reply<CreateLctResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    if !rq.proxy_id.is_empty() {
        crate::extract::label("proxy_id", &rq.proxy_id)?;
    }
    let purpose = context(&rq.context);
    super::pairing::ready(&ctx, &creator, &rq.component_a, &rq.component_b).await?;
    let (a, b, to) = (rq.component_a.clone(), rq.component_b.clone(), purpose.clone());
    let made = ctx.app.authority.call(move |core| core.create_lct(&a, &b, &to)).await?;
    ctx.app.included(&made.tx).await?;
    let (lct_id, txhash) = (made.lct_id.0, hash(&made.tx));
    let said = Said { creator: creator.name.clone(), proxy_id: rq.proxy_id.clone(), txhash: txhash.clone() };
    ctx.compat()?.book.put(&said_of(&lct_id), &said)?;
    let lct = ctx.app.blocking(move |chain| Ok(chain.read()?.lct(&lct_id)?)).await?;
    let lct = lct.ok_or_else(|| Refusal::internal(&"an included LCT is not in the state"))?;
    let (mut clear, mut sealed) = ([String::new(), String::new()], None);
    if ctx.compat()?.allow.clear_key_halves {
        clear = clear_halves()?;
        tracing::warn!(creator = creator.name, lct_id = %made.lct_id, "key halves of an LCT given out in clear");
    } else {
        let halves = ctx.app.authority.call(move |core| core.seal_halves(made)).await?;
        sealed = Some(SealedHalves { lct: halves.lct, device: halves.device });
    }
    let [lct_key_half, device_key_half] = clear;
    Ok(CreateLctResponse {
        lct_id: id("lct", &lct_id),
        component_a: rq.component_a,
        component_b: rq.component_b,
        context: rq.context,
        proxy_id: rq.proxy_id,
        status: "active".into(),
        state: lct.status.name().into(),
        created_at: (lct.time_ms / 1000).cast_signed(),
        creator: creator.name,
        txhash,
        lct_key_half,
        device_key_half,
        sealed_key_halves: sealed,
    })
}

fn not_found() -> Refusal {
    Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT")
}

/// What the ledger holds of an LCT.
pub(crate) async fn get(ctx: Ctx, rq: GetLctRequest) -> Reply<GetLctResponse> {
    let lct_id: [u8; 32] = parse("lct_id", "lct", required("lct_id", &rq.lct_id)?)?;
    let said: Said = match &ctx.app.compat {
        Some(compat) => compat.book.get(&said_of(&lct_id))?.unwrap_or_default(),
        None => Said::default(),
    };
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let lct = snapshot.lct(&lct_id)?.ok_or_else(not_found)?;
        let name = |cid| crate::authority::component_id(&snapshot, cid);
        let (component_a, component_b) = (name(&lct.a)?, name(&lct.b)?);
        let txhash = match said.txhash.is_empty() {
            false => said.txhash,
            true => {
                let made = |body: &Body| match body {
                    Body::LctCreate { a, b, context } => {
                        [*a, *b].contains(&lct.a) && [*a, *b].contains(&lct.b) && *context == lct.context
                    }
                    Body::Register { statement, .. } => {
                        let registered = ::lct::registration::Registration::decode(statement);
                        lct.a == lct.b && registered.is_ok_and(|r| r.component_id.as_str() == component_a)
                    }
                    _ => false,
                };
                let found = crate::authority::find_tx(&snapshot, lct.height, made)?;
                // Of a block that is not kept any more it is empty.
                found.map(|(tx, _)| hash(&tx)).unwrap_or_default()
            }
        };
        let (word, at) = (lct.status.name().to_owned(), (lct.time_ms / 1000).cast_signed());
        Ok(GetLctResponse {
            lct_id: id("lct", &lct_id),
            component_a,
            component_b,
            context: lct.context.clone(),
            operational_context: lct.context,
            proxy_id: said.proxy_id.clone(),
            proxy_component_id: said.proxy_id,
            status: word.clone(),
            state: word.clone(),
            lct_status: word,
            created_at: at,
            updated_at: at,
            creator: said.creator,
            txhash,
        })
    };
    ctx.app.blocking(read).await
}

/// Gives an LCT another status, where the creator has a say over one of its components.
pub(crate) async fn update_status(ctx: Ctx, rq: UpdateLctStatusRequest) -> Reply<UpdateLctStatusResponse> {
    let lct_id: [u8; 32] = parse("lct_id", "lct", required("lct_id", &rq.lct_id)?)?;
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let wanted = rq.status.to_lowercase();
    let all = [LctStatus::Active, LctStatus::Suspended, LctStatus::Terminated];
    let status = all.into_iter().find(|s| s.name() == wanted);
    let status = status.ok_or_else(|| Refusal::format("status: `active`, `suspended` or `terminated`"))?;
    let body =
        Body::Registry(Registry::LctStatus { id: lct_id, status: status as u8, reason: Reason::Unspecified });
    let tx = ctx.send(&creator, body).await?;
    let now_ms = ctx.app.blocking(|chain| Ok(chain.read()?.tip().time_ms)).await?;
    Ok(UpdateLctStatusResponse {
        lct_id: id("lct", &lct_id),
        status: status.name().into(),
        state: status.name().into(),
        updated_at: (now_ms / 1000).cast_signed(),
        txhash: hash(&tx),
    })
}

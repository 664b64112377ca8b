//! Accounts: for whom the bridge signs.

use api::problem::code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{super::Ctx, required};
use crate::refusal::{Refusal, Reply};

/// `GetAccounts`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct GetAccountsRequest {}

/// A creator for whom the bridge signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// What calls say as `creator`.
    pub name: String,
    /// Its public key, 66 hexadecimal digits; `GET /accounts/{key}` tells more.
    pub address: String,
    /// `p256`.
    pub key_type: String,
}

/// All of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetAccountsResponse {
    /// By name.
    pub accounts: Vec<Account>,
    /// How many.
    pub count: i32,
}

/// A creator that is to get a key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateAccountRequest {
    /// Its name.
    pub name: String,
}

/// How accounts are used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccountsInfoResponse {
    /// Who asks in calls that name no creator; empty for nobody.
    pub default_account: String,
    /// All names.
    pub all_accounts: Vec<String>,
    /// In words.
    pub usage_info: String,
}

fn account(creator: super::super::sign::Creator) -> Account {
    Account { name: creator.name, address: hex::encode(creator.key.0), key_type: "p256".into() }
}

/// For whom the bridge signs.
pub(crate) async fn accounts(ctx: Ctx, _: GetAccountsRequest) -> Reply<GetAccountsResponse> {
    let creators = if ctx.app.compat.is_some() { ctx.all_creators()? } else { Vec::new() };
    let accounts: Vec<Account> = creators.into_iter().map(account).collect();
    Ok(GetAccountsResponse { count: i32::try_from(accounts.len()).unwrap_or(i32::MAX), accounts })
}

/// Gives a creator a key and an account of the ledger.
pub(crate) async fn create(ctx: Ctx, rq: CreateAccountRequest) -> Reply<Account> {
    let name = required("name", &rq.name)?;
    if !ctx.compat()?.allow.unknown_creators {
        let refusal =
            Refusal::new(403, code::SWITCHED_OFF, "this bridge gives nobody a key who asks for one");
        return Err(refusal.detail("--allow-unknown-creators would; `modbatt creator add` does"));
    }
    ctx.creator(name).await.map(account)
}

/// How accounts are used.
pub(crate) async fn info(ctx: Ctx, _: GetAccountsRequest) -> Reply<AccountsInfoResponse> {
    let default = ctx.app.compat.as_ref().and_then(|c| c.default_creator.clone()).unwrap_or_default();
    let accounts = accounts(ctx, GetAccountsRequest {}).await?.accounts;
    Ok(AccountsInfoResponse {
        default_account: default,
        all_accounts: accounts.into_iter().map(|a| a.name).collect(),
        usage_info: "creator names the account whose key signs; a client with a key of its own signs itself"
            .into(),
    })
}

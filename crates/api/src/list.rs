//! Lists in pages (A204).

use serde::de::DeserializeOwned;

use crate::client::{Client, ClientError};

/// Rows of a page for which no limit was asked.
pub const LIMIT: u16 = 100;
/// Most rows of a page.
pub const LIMIT_MAX: u16 = 1000;

/// A list that comes in pages.
pub trait Paged {
    /// Where it goes on; `None` where it is whole.
    fn next(&self) -> Option<&str>;
    /// Adds the rows of its next page, and goes on where that does.
    fn join(&mut self, page: Self);
}

macro_rules! paged {
    ($($list:path: $rows:ident;)*) => {$(
        impl Paged for $list {
            fn next(&self) -> Option<&str> {
                self.next.as_deref()
            }

            fn join(&mut self, page: Self) {
                self.$rows.extend(page.$rows);
                self.next = page.next;
            }
        }
    )*};
}

paged! {
    crate::binding::Bindings: bindings;
    crate::component::Anchors: anchors;
    crate::component::Components: components;
    crate::delegation::Delegations: delegations;
    crate::energy::Cycles: cycles;
    crate::energy::Market: offers;
    crate::governance::Accounts: accounts;
    crate::order::Orders: orders;
    crate::pairing::Pairings: pairings;
    crate::policy::Standings: policies;
}

impl Client {
    /// Every page of a list.
    pub(crate) async fn all<T: DeserializeOwned + Paged>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let limit = LIMIT_MAX.to_string();
        let mut query = query.to_vec();
        query.push(("limit", &limit));
        let mut list: T = self.get_with(segments, &query).await?;
        while let Some(place) = list.next().map(str::to_owned) {
            let behind: Vec<_> = query.iter().copied().chain([("after", place.as_str())]).collect();
            list.join(self.get_with(segments, &behind).await?);
            if list.next() == Some(&place) {
                let reason = format!("the page behind {place} leads to itself");
                return Err(ClientError::Malformed { url: self.url(segments).into(), reason });
            }
        }
        Ok(list)
    }
}

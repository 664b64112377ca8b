//! Lists in pages (A204).

use api::{
    encoding::ComponentId,
    list::{LIMIT, LIMIT_MAX},
};
use axum::{
    extract::{FromRequestParts, Query},
    http::{Uri, request::Parts},
};
use ledger::codec::Canonical;
use node::{Snapshot, Span};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::refusal::{Refusal, Reply};

/// Longest place in a list, in bytes.
const AFTER_MAX: usize = 64;
/// Most objects of the state that one page looks at, however few of them are wanted.
const LOOK_MAX: usize = 4096;
/// How much more is read at once when a read did not fill the page.
const LOOK_WIDER: usize = 8;

/// Which rows of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Most rows, 1 to 1000; 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// Those behind the place that `next` of a page named; from the first where it is left out.
    #[param(value_type = Option<String>, pattern = "^([0-9A-Fa-f]{2}){1,64}$")]
    pub after: Option<Vec<u8>>,
}

/// The query of a list: which rows, and of what.
pub(crate) struct List<F> {
    pub page: Page,
    pub of: F,
}

/// Which of them, and after which block.
#[derive(Debug, Clone, serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfComponent {
    /// Only of this component.
    #[param(value_type = Option<ComponentId>)]
    pub component: Option<String>,
    /// Height of the block; the last one where it is left out.
    pub height: Option<u64>,
}

/// The query of a list of which nothing else can be asked.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<S: Send + Sync, F: DeserializeOwned> FromRequestParts<S> for List<F> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let (page, rest) = Page::split(parts.uri.query().unwrap_or(""))?;
        let uri: Uri = format!("/?{rest}").parse().map_err(|e| Refusal::format(format!("query: {e}")))?;
        match Query::try_from_uri(&uri) {
            Ok(Query(of)) => Ok(List { page, of }),
            Err(e) => Err(Refusal::format(e.body_text())),
        }
    }
}

/// Objects by the rest of their keys, and where their list goes on.
pub(crate) type Piece<T> = (Vec<(Vec<u8>, T)>, Option<String>);

impl Page {
    /// Reads what a query says of the page, and gives the rest of it.
    fn split(query: &str) -> Reply<(Self, String)> {
        let (mut page, mut rest) = (Page::default(), Vec::new());
        for pair in query.split('&') {
            let again = match pair.split_once('=') {
                Some(("limit", text)) => {
                    let limit = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                    let limit = limit.ok_or_else(|| Refusal::format(format!("limit: 1 to {LIMIT_MAX}")))?;
                    page.limit.replace(limit).is_some()
                }
                Some(("after", text)) => {
                    let place = hex::decode(text).ok().filter(|place| (1..=AFTER_MAX).contains(&place.len()));
                    let place = place.ok_or_else(|| Refusal::format("after: what `next` of a page named"))?;
                    page.after.replace(place).is_some()
                }
                _ => {
                    rest.push(pair);
                    false
                }
            };
            if again {
                return Err(Refusal::format("limit and after: once each"));
            }
        }
        Ok((page, rest.join("&")))
    }

    /// Most rows that it has.
    fn rows(&self) -> usize {
        self.limit.unwrap_or(LIMIT).into()
    }

    /// The place behind which it begins, in a list whose places have `N` bytes: what is missing of it is zero.
    fn place<const N: usize>(&self) -> Option<[u8; N]> {
        let given = self.after.as_ref()?;
        let mut place = [0; N];
        place.iter_mut().zip(given).for_each(|(byte, given)| *byte = *given);
        Some(place)
    }

    /// What is to be read of a list whose places have `N` bytes: one row more than is told.
    pub fn span<const N: usize, C>(&self, place: impl FnOnce([u8; N]) -> C) -> Span<C> {
        Span::of(self.place().map(place), self.rows() + 1)
    }

    /// The page of what was read by [`Page::span`], and where the list goes on.
    pub fn of_span<T>(&self, mut read: Vec<T>, place: impl Fn(&T) -> Vec<u8>) -> (Vec<T>, Option<String>) {
        let more = read.len() > self.rows();
        read.truncate(self.rows());
        let next = read.last().filter(|_| more).map(|row| hex::encode(place(row)));
        (read, next)
    }

    /// Objects of the state under `prefix` that are `wanted`, by the rest of their keys, and where the list goes on. Of at
    /// most [`LOOK_MAX`] objects, in a few reads: each one of a state that is past looks through what later blocks changed.
    pub fn scan<T: Canonical>(
        &self,
        snapshot: &Snapshot<'_>,
        prefix: &[u8],
        wanted: impl Fn(&T) -> bool,
    ) -> Reply<Piece<T>> {
        let (mut found, mut place, mut looked) = (Vec::new(), self.after.clone(), 0);
        let mut wide = self.rows() + 1;
        loop {
            let read = snapshot.rows_of::<T>(prefix, &Span::of(place.as_deref(), wide))?;
            let last = read.len() < wide;
            wide = (wide * LOOK_WIDER).min(LOOK_MAX + 1);
            for (rest, object) in read {
                if found.len() == self.rows() || looked == LOOK_MAX {
                    return Ok((found, place.map(hex::encode)));
                }
                looked += 1;
                place = Some(rest.clone());
                if wanted(&object) {
                    found.push((rest, object));
                }
            }
            if last {
                return Ok((found, None));
            }
        }
    }

    /// The page of what is at hand, in the order of `place`, and where the list goes on.
    pub fn cut<T>(&self, mut all: Vec<T>, place: impl Fn(&T) -> Vec<u8>) -> (Vec<T>, Option<String>) {
        all.sort_by_cached_key(&place);
        all.retain(|row| self.after.as_ref().is_none_or(|after| place(row) > *after));
        self.of_span(all, place)
    }
}

/// The bytes that a key ends with, as an identifier.
pub(crate) fn name<const N: usize>(rest: Vec<u8>) -> Reply<[u8; N]> {
    rest.try_into().map_err(|_| Refusal::internal(&"a key of the state has the wrong length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_page_once() {
        let read = |query: &str| Page::split(query).map(|(page, rest)| (page.limit, page.after, rest));
        assert_eq!(read("").unwrap(), (None, None, String::new()));
        let given = read("what=energy&limit=7&after=00ff&height=3").unwrap();
        assert_eq!(given, (Some(7), Some(vec![0, 255]), "what=energy&height=3".into()));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=+1x",
            "after=",
            "after=0",
            "after=zz",
            "limit=1&limit=1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("after={}", "00".repeat(AFTER_MAX + 1))).is_err());
        assert_eq!(read("%6Cimit=1").unwrap().2, "%6Cimit=1", "a name in disguise is nobody's");
    }

    #[test]
    fn pages_of_what_is_at_hand_leave_nothing_out() {
        let all: Vec<u8> = vec![9, 3, 7, 1, 5];
        let mut seen = Vec::new();
        let mut page = Page { limit: Some(2), after: None };
        loop {
            let (rows, next) = page.cut(all.clone(), |n| vec![*n]);
            assert!(rows.len() <= 2);
            seen.extend(rows);
            let Some(next) = next else { break };
            page.after = Some(hex::decode(next).unwrap());
        }
        assert_eq!(seen, [1, 3, 5, 7, 9]);
        // What stood at the place may be gone.
        let page = Page { limit: None, after: Some(vec![4]) };
        assert_eq!(page.place(), Some([4, 0]));
        assert_eq!(page.cut(all, |n| vec![*n]), (vec![5, 7, 9], None));
    }
}

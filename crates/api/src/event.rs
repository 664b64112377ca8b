//! Events of the ledger with a cursor (A180 to A184): `GET /events`, and what the streams and web hooks carry.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::encoding::{ComponentId, text};

/// Most events of one page.
pub const LIMIT_MAX: usize = 1000;
/// Events of a page for which no limit was asked.
pub const LIMIT: usize = 100;

/// Identity of an event, and the place in the feed after it: height, index of the transaction, number in its result. As text
/// `12-0-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Height of the block.
    pub height: u64,
    /// Index of the transaction in the block.
    pub transaction: u32,
    /// Number of the event in the transaction's result.
    pub index: u32,
}

impl From<(u64, u32, u32)> for Cursor {
    fn from((height, transaction, index): (u64, u32, u32)) -> Self {
        Cursor { height, transaction, index }
    }
}

impl From<Cursor> for (u64, u32, u32) {
    fn from(c: Cursor) -> Self {
        (c.height, c.transaction, c.index)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.height, self.transaction, self.index)
    }
}

/// Text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is the id of an event, for example 12-0-3, or one of the words start and now")]
pub struct NotACursor;

/// A decimal number without sign or leading zeros, so that an id has one text.
fn decimal<T: FromStr>(text: &str) -> Result<T, NotACursor> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(NotACursor)
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(NotACursor);
        let cursor =
            Cursor { height: decimal(next()?)?, transaction: decimal(next()?)?, index: decimal(next()?)? };
        if parts.next().is_some() { Err(NotACursor) } else { Ok(cursor) }
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        text("^[0-9]+-[0-9]+-[0-9]+$", "Height, transaction and number of an event.".into())
    }
}

impl ToSchema for Cursor {}

/// Where in the feed a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// `start`: with the first event of the ledger.
    Start,
    /// `now`: with what happens from here on.
    Now,
    /// After this event.
    Event(Cursor),
}

impl FromStr for After {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        match text {
            "start" => Ok(After::Start),
            "now" => Ok(After::Now),
            id => id.parse().map(After::Event),
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::Start => f.write_str("start"),
            After::Now => f.write_str("now"),
            After::Event(id) => id.fmt(f),
        }
    }
}

/// Something that a block made true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its identity, the same for ever.
    pub id: Cursor,
    /// One word of the catalogue (A181).
    pub event_type: String,
    /// Block time, RFC 3339 in UTC.
    pub timestamp: String,
    /// What happened, with `timestamp` in Unix seconds and `tx_hash`.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// Events are missing here: the reader asks the resources again instead of trusting that it saw everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = EventGap)]
pub struct Gap {
    /// The cursor that names no event of this ledger; absent for a reader from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// The event with which it goes on; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<Cursor>,
    /// Why, in words.
    pub reason: String,
}

/// A page of the feed: answer of `GET /events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Whether others are missing before these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// In order.
    pub events: Vec<Event>,
    /// For the next page; absent while the ledger has no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Whether the next page can be asked for at once.
    pub more: bool,
}

/// What a reader wants to see: query of the feed and of the streams.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// `start`, `now` or the id of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^(start|now|(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,8}))$")]
    pub after: Option<String>,
    /// Words of the catalogue, separated by commas; everything without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<String>,
    /// Id or cid of the component that is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<ComponentId>)]
    pub component: Option<String>,
    /// Most events of the page, 1 to [`LIMIT_MAX`]; of the feed only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A time in RFC 3339, whole seconds of UTC.
pub fn rfc3339(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days since 0000-03-01, in eras of 400 years, so that the leap day is the last of its year.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_text() {
        let cursor = Cursor { height: 12, transaction: 0, index: 3 };
        assert_eq!(cursor.to_string(), "12-0-3");
        assert_eq!("12-0-3".parse(), Ok(cursor));
        assert_eq!("12-0-3".parse(), Ok(After::Event(cursor)));
        assert_eq!(("start".parse(), "now".parse()), (Ok(After::Start), Ok(After::Now)));
        for bad in
            ["", "12", "12-0", "12-0-3-4", "012-0-3", "+1-0-3", "1-0-", "1-0-4294967296", "a-b-c", "Now"]
        {
            assert!(bad.parse::<After>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_as_the_calendar_has_them() {
        // Computed with `date -u -d @N`.
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_750_000_000, "2025-06-15T15:06:40Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }
}

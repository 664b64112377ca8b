//! Pages of the feed: what the ledger's blocks made true, after a cursor (A180, A183).

use api::event::{After, Cursor, Event, Events, Gap};
use lct::id::Cid;
use node::{Error, Snapshot};

use super::catalogue::{self, Described, Describer};

/// Most events of the ledger that one page looks at, however few of them are wanted.
const LOOK_MAX: usize = 2_000;
/// Most types of a filter.
const TYPES_MAX: usize = 64;

/// Which events a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    types: Vec<String>,
    component: Option<Cid>,
}

impl Filter {
    /// Those of these types, words of the catalogue (A181) separated by commas, that concern this component; everything
    /// without.
    ///
    /// # Errors
    /// What is wrong with the types, in words.
    pub fn new(types: Option<&str>, component: Option<Cid>) -> Result<Self, String> {
        let mut wanted: Vec<String> = Vec::new();
        for name in types.iter().flat_map(|types| types.split(',')).map(str::trim) {
            catalogue::known(name).map_err(|why| format!("types: {why}"))?;
            if !wanted.iter().any(|other| other == name) {
                wanted.push(name.into());
            }
        }
        if wanted.len() > TYPES_MAX {
            return Err(format!("types: at most {TYPES_MAX}"));
        }
        Ok(Filter { types: wanted, component })
    }

    /// The name under which the reader wants the event, if it does.
    fn name(&self, described: &Described) -> Option<String> {
        if self.component.is_some_and(|cid| !described.about.contains(&cid)) {
            return None;
        }
        let mut names = described.names.iter();
        let name = names.find(|name| self.types.is_empty() || self.types.iter().any(|t| t == *name));
        name.map(|name| name.clone().into_owned())
    }
}

/// Where a reader stands: after an event, or before the first.
pub type Place = Option<Cursor>;

/// The place that `after` means now.
///
/// # Errors
/// [`Error`] when the store fails.
pub fn place(snapshot: &Snapshot<'_>, after: After) -> Result<Place, Error> {
    Ok(match after {
        After::Start => None,
        After::Now => snapshot.last_event()?.map(Cursor::from),
        After::Event(id) => Some(id),
    })
}

/// Up to `limit` events after a place that the filter wants.
///
/// # Errors
/// [`Error`] when the store fails.
pub fn page(snapshot: &Snapshot<'_>, after: Place, filter: &Filter, limit: usize) -> Result<Events, Error> {
    let mut at = after;
    let mut looked = 0;
    let whole_from = snapshot.first_whole()?;
    // Below that height blocks are missing between those that are kept.
    let forgotten = whole_from > 1 && after.is_none_or(|id| id.height + 1 < whole_from);
    let mut gap = forgotten.then(|| Gap {
        after,
        resumes_at: None,
        reason: "blocks after the cursor are not kept here any more".into(),
    });
    let mut events = Vec::new();
    let mut describer = Describer::new(snapshot);
    let more = 'pages: loop {
        let chunk = limit.clamp(16, 256);
        let page = snapshot.page(at.map(Cursor::into), chunk)?;
        if page.gap && !forgotten {
            gap = Some(Gap {
                after,
                resumes_at: None,
                reason: "the cursor names no event of this ledger, so others may be missing here".into(),
            });
        }
        let full = page.events.len() == chunk;
        for logged in page.events {
            let id = Cursor::from(logged.id);
            at = Some(id);
            looked += 1;
            // Below `whole_from` a block may be gone meanwhile, which is said.
            if let Some(described) = describer.describe(&logged)? {
                if let Some(Gap { resumes_at: resumes_at @ None, .. }) = &mut gap {
                    *resumes_at = Some(id);
                }
                if let Some(event_type) = filter.name(&described) {
                    let Described { timestamp, data, .. } = described;
                    events.push(Event { id, event_type, timestamp, data });
                }
            }
            if events.len() == limit || looked == LOOK_MAX {
                break 'pages snapshot.last_event()?.map(Cursor::from) != at;
            }
        }
        if !full {
            break false;
        }
    };
    Ok(Events { gap, events, cursor: at, more })
}

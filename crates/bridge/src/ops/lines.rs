//! What a line of a log looks like, and of which request it is (A143).
//!
//! A request is a few pointers that go with its task, and is written out when a line is: most requests say nothing.

use std::{fmt, future::Future};

use axum::http::{HeaderValue, Method, Uri};
use tokio::task::{self, JoinHandle, futures::TaskLocalFuture};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Characters of a method, and of a path, that reach a log.
const METHOD_MAX: usize = 16;
const PATH_MAX: usize = 256;

tokio::task_local! {
    static ASKED: Asked;
}

/// The request that a task works for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its name in the answer and in the logs.
    pub id: HeaderValue,
    pub method: Method,
    pub uri: Uri,
}

impl Asked {
    /// Has every line that `work` says bear this request, which is left there in the end.
    pub fn during<F: Future>(self, work: F) -> TaskLocalFuture<Asked, F> {
        ASKED.scope(self, work)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.id.to_str().unwrap_or("-")
    }

    /// As much of the method as a log is to hold.
    pub fn method(&self) -> &str {
        beginning(self.method.as_str(), METHOD_MAX)
    }

    /// As much of the path as a log is to hold.
    pub fn path(&self) -> &str {
        beginning(self.uri.path(), PATH_MAX)
    }
}

/// The request of the task that asks, if it works for one.
pub(crate) fn asked() -> Option<Asked> {
    ASKED.try_with(Asked::clone).ok()
}

/// Does `work` where it may wait for the disk, for the request of the task that asks.
pub(crate) fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let asked = asked();
    task::spawn_blocking(move || match asked {
        Some(asked) => ASKED.sync_scope(asked, work),
        None => work(),
    })
}

fn beginning(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// One JSON object a line: `timestamp`, `level`, the members of the event, `target`, and `span` with the request.
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        write!(line, "{{\"timestamp\":{},\"level\":\"{}\"", text(&time), event.metadata().level())?;
        let mut members = Members { line: &mut line, written: Ok(()) };
        event.record(&mut members);
        members.written?;
        write!(line, ",\"target\":{}", text(event.metadata().target()))?;
        let request = ASKED.try_with(|asked| {
            let (id, method, path) = (text(asked.name()), text(asked.method()), text(asked.path()));
            write!(line, ",\"span\":{{\"id\":{id},\"method\":{method},\"path\":{path},\"name\":\"request\"}}")
        });
        request.unwrap_or(Ok(()))?;
        line.write_str("}\n")
    }
}

/// A text in JSON.
fn text(text: &str) -> Text<'_> {
    Text(text)
}

struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
        if self.0.bytes().all(plain) {
            f.write_str("\"")?;
            f.write_str(self.0)?;
            f.write_str("\"")
        } else {
            write!(f, "{}", serde_json::Value::from(self.0))
        }
    }
}

/// Writes the members of an event.
struct Members<'a, 'w> {
    line: &'a mut Writer<'w>,
    written: fmt::Result,
}

impl Members<'_, '_> {
    fn member(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.written.is_ok() {
            self.written = write!(self.line, ",{}:{value}", text(field.name()));
        }
    }
}

impl Visit for Members<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format_args!("{}", text(&format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, format_args!("{}", text(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_the_disk_works_for_the_request() {
        let (method, uri) = (Method::GET, Uri::from_static("/"));
        let request = Asked { id: HeaderValue::from_static("abc"), method, uri };
        let named = || asked().map(|asked| asked.name().to_owned());
        let inside = request.during(async move { blocking(named).await.unwrap() }).await;
        assert_eq!(inside.as_deref(), Some("abc"));
        assert_eq!(blocking(named).await.unwrap(), None, "nobody asks");
    }

    #[test]
    fn what_a_caller_chose_is_cut_between_characters() {
        let asked = Asked {
            id: HeaderValue::from_static("abc"),
            method: Method::from_bytes(&[b'X'; 40]).unwrap(),
            uri: format!("/{}", "a".repeat(400)).parse().unwrap(),
        };
        assert_eq!((asked.method().len(), asked.path().len()), (METHOD_MAX, PATH_MAX));
        assert_eq!((beginning("äöü", 2), beginning("äöü", 3)), ("äö", "äöü"));
    }
}

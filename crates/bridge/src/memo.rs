//! Answers that hold until the next block, kept for whoever asks the same before it comes (A165).
//!
//! What is kept is whole and has its tag, so that asking again costs neither a look into the ledger, nor writing JSON, nor a hash.
//! Who may ask was decided before, for each request anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use node::{Chain, Snapshot};

/// Most answers that are kept, most bytes of them together, and of one.
const ANSWERS_MAX: usize = 1024;
const BYTES_MAX: usize = 4 << 20;
const BYTES_OF_ONE: usize = 32 << 10;

/// Marks an answer that says nothing but what the ledger holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UntilBlock {
    /// After the last block, which is that of this height.
    pub height: u64,
    /// What waits for a block would be part of it: it was made without, and holds while nothing does.
    pub while_idle: bool,
}

/// An answer of the ledger; `None` where it may be another one before the next block.
pub(crate) type Lasting<T> = (Option<Extension<UntilBlock>>, T);

/// An answer made of `snapshot` for somebody who asked for the state of `height`.
pub(crate) fn lasting<T>(snapshot: &Snapshot<'_>, height: Option<u64>, answer: T) -> Lasting<T> {
    let last = UntilBlock { height: snapshot.tip().height, while_idle: false };
    (height.is_none().then_some(Extension(last)), answer)
}

/// A good answer as it is given again: what it is, its tag, and its bytes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    /// The answer to somebody who has what the tags in `known` name.
    pub fn given(&self, known: Option<&HeaderValue>) -> Response {
        let tag = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or("");
        let is = |known: &str| known.trim().trim_start_matches("W/") == tag || known.trim() == "*";
        let has = known.and_then(|known| known.to_str().ok()).is_some_and(|known| known.split(',').any(is));
        let (mut headers, mut response) = (self.headers.clone(), Response::new(Body::empty()));
        if has {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::CONTENT_TYPE);
        } else {
            *response.body_mut() = Body::from(self.bytes.clone());
        }
        *response.headers_mut() = headers;
        response
    }
}

/// The answers of one height.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    height: u64,
    /// By path and query; and whether they hold only while nothing waits for a block.
    answers: HashMap<Box<str>, (bool, Arc<Answer>)>,
    bytes: usize,
}

impl Kept {
    fn forget(&mut self) {
        self.answers.clear();
        self.bytes = 0;
    }
}

impl Memo {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was answered to `asked` since the last block of `chain`.
    pub fn recall(&self, chain: &Chain, asked: &str) -> Option<Arc<Answer>> {
        self.recall_at(chain.tip().height, || chain.waiting() == 0, asked)
    }

    fn recall_at(&self, height: u64, idle: impl FnOnce() -> bool, asked: &str) -> Option<Arc<Answer>> {
        let (while_idle, answer) = {
            let kept = self.lock();
            if kept.height != height {
                return None;
            }
            kept.answers.get(asked)?.clone()
        };
        (!while_idle || idle()).then_some(answer)
    }

    /// Keeps what was answered to `asked`.
    pub fn keep(&self, until: UntilBlock, asked: &str, answer: &Arc<Answer>) {
        let UntilBlock { height, while_idle } = until;
        let size = asked.len() + answer.bytes.len();
        let mut kept = self.lock();
        if size > BYTES_OF_ONE || height < kept.height {
            return;
        }
        if height > kept.height || kept.answers.len() >= ANSWERS_MAX || kept.bytes + size > BYTES_MAX {
            kept.forget();
            kept.height = height;
        }
        let before = kept.answers.insert(asked.into(), (while_idle, answer.clone()));
        let before = before.map_or(0, |(_, before)| asked.len() + before.bytes.len());
        kept.bytes = kept.bytes + size - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(height: u64) -> UntilBlock {
        UntilBlock { height, while_idle: false }
    }

    fn answer(bytes: usize) -> Arc<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("\"ab\""));
        Arc::new(Answer { headers, bytes: vec![7; bytes].into() })
    }

    #[test]
    fn an_answer_holds_for_its_height_alone() {
        let memo = Memo::default();
        let has = |height, asked| memo.recall_at(height, || false, asked).is_some();
        memo.keep(at(3), "/a", &answer(1));
        assert!(has(3, "/a") && !has(4, "/a") && !has(2, "/a") && !has(3, "/b"));
        memo.keep(at(2), "/late", &answer(1));
        assert!(!has(2, "/late") && has(3, "/a"), "a reader that was slow takes nothing back");
        memo.keep(at(4), "/b", &answer(1));
        assert!(has(4, "/b") && !has(4, "/a") && !has(3, "/a"));
        memo.keep(UntilBlock { height: 4, while_idle: true }, "/c", &answer(1));
        assert!(!has(4, "/c") && memo.recall_at(4, || true, "/c").is_some(), "only while nothing waits");
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let memo = Memo::default();
        let has = |asked: &str| memo.recall_at(1, || true, asked).is_some();
        memo.keep(at(1), "/long", &answer(BYTES_OF_ONE));
        assert!(!has("/long"));
        for n in 0..3 * ANSWERS_MAX {
            // Each is made twice, the second time longer.
            for bytes in [10 << 10, 20 << 10] {
                memo.keep(at(1), &format!("/{n}"), &answer(bytes));
            }
            let kept = memo.lock();
            assert!(kept.answers.len() <= ANSWERS_MAX && kept.bytes <= BYTES_MAX);
            let held: usize = kept.answers.iter().map(|(asked, (_, a))| asked.len() + a.bytes.len()).sum();
            assert_eq!(kept.bytes, held);
            drop(kept);
            assert!(has(&format!("/{n}")));
        }
        for n in 0..3 * ANSWERS_MAX {
            memo.keep(at(1), &format!("/{n}"), &answer(0));
            assert!(memo.lock().answers.len() <= ANSWERS_MAX);
        }
    }

    #[test]
    fn who_has_it_gets_no_body() {
        for (known, status) in [
            ("\"ab\"", 304),
            ("W/\"ab\"", 304),
            ("\"x\", \"ab\"", 304),
            ("*", 304),
            ("\"a\"", 200),
            ("", 200),
        ] {
            let given = answer(1).given(Some(&HeaderValue::from_static(known)));
            assert_eq!(given.status().as_u16(), status, "{known}");
            assert_eq!(given.headers()[header::ETAG], "\"ab\"");
        }
        assert_eq!(answer(1).given(None).status(), 200);
    }
}

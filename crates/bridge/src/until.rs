//! A body that ends when something else does.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;

/// What comes last of a body that was ended: nothing, trailers, or the error of a transfer that broke off.
pub(crate) type Last = Option<Result<Frame<Bytes>, axum::Error>>;

/// A body that goes on until `end` resolves, which says what comes last. `held` is dropped with it.
pub(crate) fn until(
    body: Body,
    end: impl Future<Output = Last> + Send + 'static,
    held: impl Send + Unpin + 'static,
) -> Body {
    Body::new(Until { body, end: Some(Box::pin(end)), _held: held })
}

struct Until<H> {
    body: Body,
    /// `None` once it resolved.
    end: Option<Pin<Box<dyn Future<Output = Last> + Send>>>,
    _held: H,
}

impl<H: Unpin> HttpBody for Until<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let Poll::Ready(last) = end.as_mut().poll(context) else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        self.end = None;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.body.is_end_stream()
    }
}

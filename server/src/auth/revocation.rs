//! Ends a running stream when the token behind it is revoked.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use seatrial_core::ids::TokenId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// The response, cut short with `UNAUTHENTICATED` once `token` is among the revoked.
pub(super) fn end_when_revoked(response: Response, token: TokenId, revoked: broadcast::Receiver<TokenId>) -> Response {
    response.map(|body| {
        let running = Some((body, Box::pin(wait(token, revoked))));
        let frames = futures::stream::unfold(running, |running| async {
            let (mut body, mut revocation) = running?;
            tokio::select! {
                frame = body.frame() => frame.map(|frame| (frame, Some((body, revocation)))),
                () = &mut revocation => Some((Ok(Frame::trailers(unauthenticated())), None)),
            }
        });
        Body::new(StreamBody::new(frames))
    })
}

fn unauthenticated() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(tonic::Code::Unauthenticated as i32));
    trailers.insert("grpc-message", HeaderValue::from_static("the token was revoked"));
    trailers
}

/// Waits until `token` is revoked; for ever if it is not.
async fn wait(token: TokenId, mut revoked: broadcast::Receiver<TokenId>) {
    loop {
        match revoked.recv().await {
            Ok(other) if other != token => {}
            // Too far behind to know: end the stream, and let the caller prove itself again.
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

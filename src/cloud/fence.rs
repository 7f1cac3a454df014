//! The last look at the clock before a call leaves.
//!
//! A call that was permitted until `not_after` can be held up on its way out: a TLS handshake
//! that takes seconds, a busy machine. So the clock is read not when the call is begun but when
//! the connection asks for the request's body. The EC2 query protocol puts all of the request into
//! the body; without it the server has nothing to carry out.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use aws_sdk_ec2::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use vipward_core::Timestamp;

use super::Clock;

/// Refuses to send a request once `not_after` has passed.
#[derive(Clone)]
pub(super) struct Fence {
    not_after: Timestamp,
    clock: Clock,
    refused: Arc<AtomicBool>,
}

impl Fence {
    pub(super) fn new(not_after: Timestamp, clock: Clock) -> Self {
        Self { not_after, clock, refused: Arc::default() }
    }

    /// Whether the request may leave now. A no is remembered.
    pub(super) fn permits(&self) -> bool {
        let permits = (self.clock)() <= self.not_after;
        if !permits {
            self.refused.store(true, Ordering::Release);
        }
        permits
    }

    /// Whether the clock kept the request from being sent: then it has no effect, for certain.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Intercept for Fence {
    fn name(&self) -> &'static str {
        "fence"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        let bytes = mem::replace(body, SdkBody::taken())
            .bytes()
            .map(Bytes::copy_from_slice)
            .ok_or("the request's body is not in memory")?;
        *body = SdkBody::from_body_1_x(FencedBody { fence: self.clone(), bytes: Some(bytes) });
        Ok(())
    }
}

/// A request's body that is given away only before the fence's time.
struct FencedBody {
    fence: Fence,
    bytes: Option<Bytes>,
}

impl Body for FencedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if self.fence.permits() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(Some(Err("its time had passed before it could be sent".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

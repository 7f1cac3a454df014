//! A body that is a stream of the journal's lines.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::EventReceiver;

/// How often a silent stream shows that it lives, and so notices that its client does not.
const ALIVE: Duration = Duration::from_secs(10);

/// How lines are told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// One a line; an empty one says nothing.
    Lines,
    /// Server-sent events.
    Events,
}

pub(super) struct EventBody {
    lines: EventReceiver,
    framing: Framing,
    alive: Interval,
    /// Held as long as the stream: there are only so many.
    _permit: OwnedSemaphorePermit,
}

impl EventBody {
    pub(super) fn new(
        lines: EventReceiver,
        framing: Framing,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut alive = interval(ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { lines, framing, alive, _permit: permit }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match (self.lines.poll_recv(context), self.framing) {
            (Poll::Ready(None), _) => return Poll::Ready(None),
            (Poll::Ready(Some((_, line))), Framing::Lines) => format!("{line}\n"),
            (Poll::Ready(Some((id, line))), Framing::Events) => {
                format!("id: {id}\ndata: {line}\n\n")
            }
            (Poll::Pending, framing) => {
                if self.alive.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
                match framing {
                    Framing::Lines => "\n".to_owned(),
                    Framing::Events => ":\n\n".to_owned(),
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

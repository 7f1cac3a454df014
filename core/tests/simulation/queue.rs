//! What is going to happen, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Nanos;

/// Events by time; of equal times, first in first out.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    count: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), count: 0 }
    }

    /// Puts an event in.
    pub(crate) fn push(&mut self, at: Nanos, event: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer events than that")
        });
        self.slots[slot as usize] = Some(event);
        self.count += 1;
        self.heap.push(Reverse((at, self.count, slot)));
    }

    /// How many events are under way.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes the next event out.
    pub(crate) fn pop(&mut self) -> Option<(Nanos, T)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("each event is taken once");
        Some((at, event))
    }
}

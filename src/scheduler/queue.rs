//! One lane of waiting requests: fair between owners, oldest request first within an owner, and a clock for each
//! owner, so that nothing starves.
//!
//! Fairness is start-time fair queueing (Goyal, Vin and Cheng, 1996): an owner is charged what it is given, the one
//! that was given least is next, and one that comes (back) starts where the lane is, neither ahead nor behind.

use std::collections::{BTreeSet, HashMap};

use super::{Owner, RequestId};

#[derive(Debug)]
struct OwnerQueue {
    requests: BTreeSet<RequestId>,
    virtual_us: u64,
    /// Since when its first one waits: only an owner's head ages, or a flood would turn every plan into FIFO.
    since_us: u64,
}

#[derive(Debug)]
pub(super) struct Lane {
    patience_us: u64,
    /// Those that wait, and those that were served beyond `virtual_us` and could come back to gain from it.
    owners: HashMap<Owner, OwnerQueue>,
    /// Virtual time, head (older first when equal), owner.
    order: BTreeSet<(u64, RequestId, Owner)>,
    clocks: BTreeSet<(u64, Owner)>,
    /// Owners without a request, by the virtual time at which they can be forgotten.
    settled: BTreeSet<(u64, Owner)>,
    virtual_us: u64,
    highest_us: u64,
}

impl Lane {
    pub(super) fn new(patience_us: u64) -> Self {
        Self {
            patience_us,
            owners: HashMap::new(),
            order: BTreeSet::new(),
            clocks: BTreeSet::new(),
            settled: BTreeSet::new(),
            virtual_us: 0,
            highest_us: 0,
        }
    }

    /// The least served owner's oldest request.
    pub(super) fn head(&self) -> Option<RequestId> {
        self.order.first().map(|&(_, request, _)| request)
    }

    /// The head that has waited longest, and when its owner's patience ends.
    pub(super) fn oldest(&self) -> Option<(u64, RequestId)> {
        let &(since_us, owner) = self.clocks.first()?;
        let head = self.owners.get(&owner)?.requests.first()?;
        Some((since_us.saturating_add(self.patience_us), *head))
    }

    pub(super) fn push(&mut self, now_us: u64, owner: Owner, request: RequestId) {
        let queue = self.owners.entry(owner).or_insert_with(|| OwnerQueue {
            requests: BTreeSet::new(),
            virtual_us: 0,
            since_us: 0,
        });
        match queue.requests.first() {
            None => {
                self.settled.remove(&(queue.virtual_us, owner));
                queue.virtual_us = queue.virtual_us.max(self.virtual_us);
                queue.since_us = now_us;
                self.clocks.insert((now_us, owner));
                self.order.insert((queue.virtual_us, request, owner));
            }
            Some(&head) if request < head => {
                self.order.remove(&(queue.virtual_us, head, owner));
                self.order.insert((queue.virtual_us, request, owner));
            }
            Some(_) => {}
        }
        queue.requests.insert(request);
    }

    /// It waits no longer, without having been served.
    pub(super) fn remove(&mut self, owner: Owner, request: RequestId) {
        let Some(queue) = self.owners.get_mut(&owner) else { return };
        let head = queue.requests.first().copied();
        if !queue.requests.remove(&request) || head != Some(request) {
            return;
        }
        self.order.remove(&(queue.virtual_us, request, owner));
        match queue.requests.first() {
            Some(&next) => {
                self.order.insert((queue.virtual_us, next, owner));
            }
            None => {
                self.clocks.remove(&(queue.since_us, owner));
                self.settle(owner);
            }
        }
    }

    /// It is served: its owner is charged `cost_us` and its clock starts again. Gives when its patience ended.
    pub(super) fn take(&mut self, now_us: u64, owner: Owner, request: RequestId, cost_us: u64) -> u64 {
        // The least served owner's time, not this one's: one taken out of turn, being urgent, must not push newcomers
        // behind those that wait.
        if let Some(&(least_us, _, _)) = self.order.first() {
            self.virtual_us = self.virtual_us.max(least_us);
        }
        let Some(queue) = self.owners.get_mut(&owner) else { return now_us };
        let due_us = queue.since_us.saturating_add(self.patience_us);
        if let Some(&head) = queue.requests.first() {
            self.order.remove(&(queue.virtual_us, head, owner));
        }
        self.clocks.remove(&(queue.since_us, owner));
        queue.requests.remove(&request);
        queue.virtual_us = queue.virtual_us.saturating_add(cost_us);
        self.highest_us = self.highest_us.max(queue.virtual_us);
        if let Some(&next) = queue.requests.first() {
            queue.since_us = now_us;
            self.clocks.insert((now_us, owner));
            self.order.insert((queue.virtual_us, next, owner));
        } else {
            self.settle(owner);
        }
        due_us
    }

    /// `owner` has nothing left: remembered for as long as it is ahead of the lane.
    fn settle(&mut self, owner: Owner) {
        if let Some(queue) = self.owners.get(&owner) {
            self.settled.insert((queue.virtual_us, owner));
        }
        if self.order.is_empty() {
            self.virtual_us = self.highest_us;
        }
        while let Some(&(virtual_us, settled)) = self.settled.first() {
            if virtual_us > self.virtual_us {
                break;
            }
            self.settled.pop_first();
            self.owners.remove(&settled);
        }
    }

    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        self.owners.is_empty() && self.order.is_empty() && self.clocks.is_empty() && self.settled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner(1);
    const B: Owner = Owner(2);

    fn lane() -> Lane {
        Lane::new(1_000)
    }

    fn take_head(lane: &mut Lane, owner: Owner, cost_us: u64) -> RequestId {
        let head = lane.head().unwrap();
        lane.take(0, owner, head, cost_us);
        head
    }

    #[test]
    fn a_newcomer_is_next_after_a_flood() {
        let mut lane = lane();
        for id in 0..5 {
            lane.push(0, A, RequestId(id));
        }
        take_head(&mut lane, A, 10);
        take_head(&mut lane, A, 10);
        lane.push(0, B, RequestId(9));
        assert_eq!(lane.head(), Some(RequestId(9)));
    }

    #[test]
    fn a_newcomer_does_not_catch_up_for_the_time_before() {
        let mut lane = lane();
        for id in 0..9 {
            lane.push(0, A, RequestId(id));
        }
        for _ in 0..5 {
            take_head(&mut lane, A, 10);
        }
        lane.push(0, B, RequestId(10));
        lane.push(0, B, RequestId(11));
        assert_eq!(take_head(&mut lane, B, 10), RequestId(10));
        assert_eq!(lane.head(), Some(RequestId(5)));
    }

    #[test]
    fn one_taken_out_of_turn_does_not_set_back_newcomers() {
        let mut lane = lane();
        for id in 0..5 {
            lane.push(0, A, RequestId(id));
        }
        for _ in 0..3 {
            take_head(&mut lane, A, 10);
        }
        lane.push(0, B, RequestId(5));
        lane.push(0, B, RequestId(6));
        lane.take(0, A, RequestId(3), 10);
        lane.push(0, Owner(3), RequestId(7));
        assert_eq!(take_head(&mut lane, B, 10), RequestId(5));
        assert_eq!(lane.head(), Some(RequestId(7)));
    }

    #[test]
    fn one_that_comes_back_at_once_gains_nothing() {
        let mut lane = lane();
        lane.push(0, A, RequestId(0));
        lane.push(0, A, RequestId(1));
        lane.push(0, B, RequestId(2));
        assert_eq!(take_head(&mut lane, A, 10), RequestId(0));
        assert_eq!(take_head(&mut lane, B, 10), RequestId(2));
        lane.push(0, B, RequestId(3));
        assert_eq!(lane.head(), Some(RequestId(1)), "B was served as much as A and is younger");
    }

    #[test]
    fn owners_are_charged_what_they_use() {
        let mut lane = lane();
        (0..4).for_each(|id| lane.push(0, A, RequestId(id)));
        (4..8).for_each(|id| lane.push(0, B, RequestId(id)));
        let order: Vec<u64> = (0..5)
            .map(|_| {
                let head = lane.head().unwrap();
                let (owner, cost_us) = if head.0 < 4 { (A, 30) } else { (B, 10) };
                lane.take(0, owner, head, cost_us);
                head.0
            })
            .collect();
        assert_eq!(order, [0, 4, 5, 6, 1]);
    }

    #[test]
    fn only_heads_age() {
        let mut lane = lane();
        lane.push(5, A, RequestId(0));
        lane.push(6, A, RequestId(1));
        assert_eq!(lane.oldest(), Some((1_005, RequestId(0))));
        assert_eq!(lane.take(500, A, RequestId(0), 1), 1_005);
        assert_eq!(lane.oldest(), Some((1_500, RequestId(1))));
        lane.remove(A, RequestId(1));
        assert_eq!(lane.oldest(), None);
        assert!(lane.is_clean());
    }

    #[test]
    fn an_older_request_that_comes_back_is_the_head_again() {
        let mut lane = lane();
        lane.push(0, A, RequestId(5));
        lane.push(1, A, RequestId(3));
        assert_eq!(lane.head(), Some(RequestId(3)));
        assert_eq!(lane.oldest(), Some((1_000, RequestId(3))), "the owner has waited since 0");
    }
}

//! The network: HTTP exchanges that may be lost, slow, doubled, refused, or meant for a life
//! that is over.

use vipward_core::{Answer, Input, LinkId, NodeId, Request, RequestId};

use crate::clock::Nanos;
use crate::host::LINKS;
use crate::observer::Asked;
use crate::plan::VOTERS;
use crate::world::{Event, World};

/// What is wrong with the network.
#[derive(Default)]
pub(crate) struct Network {
    /// By sender, receiver and link: how many faults cut it.
    pub(crate) cut: [[[u8; LINKS]; VOTERS]; VOTERS],
    /// By sender, receiver and link: how many faults refuse connections in the receiver's name.
    pub(crate) refused: [[[u8; LINKS]; VOTERS]; VOTERS],
    /// By sender and receiver: how much later messages arrive.
    pub(crate) slowed: [[Nanos; VOTERS]; VOTERS],
}

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) link: u8,
    /// The life of the sender, and of the receiver as the sender's transport knows it.
    pub(crate) from_life: u32,
    pub(crate) to_life: Option<u32>,
}

impl World {
    /// Sends a request over every link, or a probe if there is none.
    pub(crate) fn send(&mut self, from: usize, to: usize, request: Option<&Request>) {
        for link in 0..self.plan.links(from, to) {
            let from_life = self.hosts[from].life;
            let to_life = self.hosts[from].known[to][link as usize];
            let route = Route { from, to, link, from_life, to_life };
            for at in self.fate(from, to, link) {
                self.queue.push(at, Event::Request { route, request: request.cloned() });
            }
            if let Some(request) = request
                && self.faults
                && self.plan.mix.hostile > 0
                && to_life.is_some()
            {
                self.hosts[from].last[to] = Some((route, request.clone()));
            }
        }
    }

    /// What a process sent last may arrive long after its end.
    pub(crate) fn haunt(&mut self, node: usize) {
        for last in std::mem::take(&mut self.hosts[node].last).into_iter().flatten() {
            if self.faults && self.dice.percent(self.plan.mix.hostile) {
                let late = self.now + self.dice.spread(0, self.plan.mix.slow_most);
                let (route, request) = last;
                self.queue.push(late, Event::Request { route, request: Some(request) });
            }
        }
    }

    /// When a message arrives: never, once, or twice.
    fn fate(&mut self, from: usize, to: usize, link: u8) -> impl Iterator<Item = Nanos> + use<> {
        let network = &self.network;
        let mix = &self.plan.mix;
        let mut arrivals = [None, None];
        if network.cut[from][to][link as usize] == 0 {
            let luck = self.dice.draw();
            let (lost, slow, twice) = (luck & 0xffff, luck >> 16 & 0xffff, luck >> 32 & 0xffff);
            let copies = 1 + usize::from(self.faults && twice < mix.twice);
            if !self.faults || lost >= mix.loss {
                for arrival in &mut arrivals[..copies] {
                    let (low, high) = mix.delay;
                    let (low, high) = if self.faults && slow < mix.slow {
                        (low, mix.slow_most)
                    } else {
                        (low, high)
                    };
                    let delay = self.dice.between(low, high) + network.slowed[from][to];
                    *arrival = Some(self.now + delay);
                }
            }
        }
        arrivals.into_iter().flatten()
    }

    /// A request, or a probe, reaches its host.
    pub(crate) fn request_arrives(&mut self, route: Route, request: Option<Request>) {
        let Route { from, to, link, from_life, to_life } = route;
        let host = &mut self.hosts[to];
        if !host.up {
            return;
        }
        if host.process.is_none() || self.network.refused[from][to][link as usize] > 0 {
            // An attempt that takes longer than one interval is given up.
            let in_time = self.now + self.plan.heartbeat;
            for at in self.fate(to, from, link).filter(|at| *at <= in_time) {
                self.queue.push(at, Event::Refused { route });
            }
            return;
        }
        if host.frozen.is_some() {
            if request.is_some() {
                host.backlog.push(Event::Request { route, request });
            }
            return;
        }
        let life = host.life;
        let request = match request {
            Some(request) if to_life == Some(life) => request,
            // A probe, or a 409: this boot answers, and applies nothing.
            refused => {
                for at in self.fate(to, from, link) {
                    let refused = refused.clone();
                    self.queue.push(at, Event::BootAnswered { route, life, refused });
                }
                return;
            }
        };
        if self.hosts[from].runs(from_life) {
            self.connected(to, from, from_life, link);
        }
        let id = RequestId(self.asked.len() as u64);
        let boot = self.boots[from][from_life as usize];
        self.asked.push(Some(Asked {
            asker: from,
            asker_life: from_life,
            link,
            send: send_number(&request),
        }));
        let (from, link) = (NodeId(from as u8), LinkId(link));
        self.step(to, Input::Request { from, boot, link, id, request });
    }

    /// The core answers a request.
    pub(crate) fn answer(&mut self, node: usize, id: RequestId, answer: &Answer) {
        let asked = self.asked.get_mut(id.0 as usize).and_then(Option::take);
        let Some(asked) = asked else {
            self.observer.violate("interface", || format!("{id:?} was answered twice"));
            return;
        };
        let at = self.hosts[node].clock.at(self.now);
        self.observer.answered(node, at, &asked, answer);
        let route = Route {
            from: node,
            to: asked.asker,
            link: asked.link,
            from_life: self.hosts[node].life,
            to_life: Some(asked.asker_life),
        };
        for at in self.fate(node, asked.asker, asked.link) {
            self.queue.push(at, Event::Answer { route, answer: answer.clone() });
        }
    }

    /// An answer reaches the host that asked.
    pub(crate) fn answer_arrives(&mut self, route: Route, answer: Answer) {
        let Route { from, to, link, from_life, to_life } = route;
        let host = &mut self.hosts[to];
        if !host.up || host.process.is_none() {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Answer { route, answer });
            return;
        }
        let asked_life = to_life.unwrap_or_default();
        let stale = host.life != asked_life;
        if stale && !(self.faults && self.dice.percent(self.plan.mix.hostile)) {
            return;
        }
        if self.hosts[from].runs(from_life) {
            self.connected(to, from, from_life, link);
        }
        let input = Input::Answer {
            from: NodeId(from as u8),
            boot: self.boots[from][from_life as usize],
            to_boot: self.boots[to][asked_life as usize],
            link: LinkId(link),
            answer,
        };
        self.step(to, input);
    }

    /// A connection attempt was refused: nothing listened there.
    pub(crate) fn refused_arrives(&mut self, route: Route) {
        let Route { from, to, link, from_life, .. } = route;
        if !self.reaches(from, from_life, || Event::Refused { route }) {
            return;
        }
        let alive = self.hosts[to].process.as_ref().map(|_| self.hosts[to].life);
        let here = self.network.refused[from][to][link as usize] == 0;
        self.disconnected(from, to, alive.filter(|_| here), link);
        self.hosts[from].known[to][link as usize] = None;
        self.step(from, Input::ConnectRefused { peer: NodeId(to as u8), link: LinkId(link) });
    }

    /// A peer answered in a boot, and applied nothing; some transports then ask it again.
    pub(crate) fn boot_answered(&mut self, route: Route, life: u32, refused: Option<Request>) {
        let Route { from, to, link, from_life, .. } = route;
        let event = || Event::BootAnswered { route, life, refused: refused.clone() };
        if !self.reaches(from, from_life, event) {
            return;
        }
        self.disconnected(from, to, Some(life), link);
        if self.hosts[to].runs(life) {
            self.connected(from, to, life, link);
        }
        self.hosts[from].known[to][link as usize] = Some(life);
        let boot = self.boots[to][life as usize];
        self.step(from, Input::BootAnswered { peer: NodeId(to as u8), boot, link: LinkId(link) });
        if let Some(request) = refused
            && self.plan.mix.resend
            && self.hosts[from].runs(from_life)
        {
            let route = Route { to_life: Some(life), ..route };
            for at in self.fate(from, to, link) {
                let request = Some(request.clone());
                self.queue.push(at, Event::Request { route, request });
            }
        }
    }

    /// A connection with that life of a peer is closed.
    pub(crate) fn connection_closed(&mut self, route: Route) {
        let Route { from, to, link, from_life, to_life } = route;
        if !self.reaches(from, from_life, || Event::ConnectionClosed { route }) {
            return;
        }
        if to_life == Some(self.hosts[from].connections[to].life) {
            self.disconnected(from, to, None, link);
        }
    }

    /// Whether `life` runs on `node` and is not frozen; if frozen, `event` waits for it.
    fn reaches(&mut self, node: usize, life: u32, event: impl FnOnce() -> Event) -> bool {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return false;
        }
        if host.frozen.is_some() {
            host.backlog.push(event());
            return false;
        }
        true
    }

    fn connected(&mut self, at: usize, peer: usize, life: u32, link: u8) {
        let connections = &mut self.hosts[at].connections[peer];
        if connections.life > life
            || (connections.life == life && connections.open >> link & 1 == 1)
        {
            return;
        }
        if connections.life < life {
            connections.open = 0; // The old process is gone, and its sockets with it.
        }
        connections.life = life;
        connections.open |= 1 << link;
        self.tell_connections(at, peer);
    }

    /// Closes one link's connections, unless they are with that life.
    fn disconnected(&mut self, at: usize, peer: usize, unless: Option<u32>, link: u8) {
        let connections = &mut self.hosts[at].connections[peer];
        if unless == Some(connections.life) || connections.open >> link & 1 == 0 {
            return;
        }
        connections.open &= !(1 << link);
        self.tell_connections(at, peer);
    }

    fn tell_connections(&mut self, at: usize, peer: usize) {
        let open = self.hosts[at].connections[peer].open.count_ones() as u16 * 2;
        self.step(at, Input::Connections { peer: NodeId(peer as u8), open });
    }

    /// The sockets of a process that died are closed; where the host died too, its peers find
    /// out by themselves, if ever.
    pub(crate) fn close_sockets(&mut self, node: usize, silent: bool) {
        let life = self.hosts[node].life;
        for peer in 0..self.plan.voters() {
            let from_life = self.hosts[peer].life;
            for link in 0..self.plan.links(peer, node) {
                let route = Route { from: peer, to: node, link, from_life, to_life: Some(life) };
                let event = || Event::ConnectionClosed { route };
                if silent {
                    if self.dice.percent(50) {
                        let late = self.dice.between(self.plan.heartbeat, 4 * self.plan.lease);
                        self.queue.push(self.now + late, event());
                    }
                } else {
                    for at in self.fate(node, peer, link) {
                        self.queue.push(at, event());
                    }
                }
            }
        }
    }

    /// Some connections break, though both processes live.
    pub(crate) fn reset_connections(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let (from_life, to_life) = (self.hosts[from].life, Some(self.hosts[to].life));
            for link in 0..self.plan.links(a, b) {
                let route = Route { from, to, link, from_life, to_life };
                self.queue.push(self.now, Event::ConnectionClosed { route });
            }
        }
    }
}

fn send_number(request: &Request) -> u64 {
    match request {
        Request::Heartbeat(beat) => beat.send.0,
        Request::Vote(request) => request.send.0,
        Request::TakeBack(list) => list.send.0,
        Request::Operator(request) => request.send.0,
    }
}

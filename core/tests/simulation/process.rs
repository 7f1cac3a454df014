//! The life of a process: its start, its end, its disk, and what its operators ask.

use std::sync::Arc;

use vipward_core::{
    BootId, CheckId, Durable, Input, Node, NodeId, OperatorId, OperatorResult, Switchover,
    Timestamp,
};

use crate::clock::{Nanos, SEC};
use crate::host::{LINKS, Process};
use crate::observer::nanos;
use crate::plan::VOTERS;
use crate::show;
use crate::world::{Event, World};

impl World {
    /// A process starts.
    pub(crate) fn boot(&mut self, node: usize) {
        if self.hosts[node].process.is_some() {
            return;
        }
        let boot = BootId(u128::from(self.dice.draw()) << 64 | u128::from(self.dice.draw()));
        let seed = self.dice.draw();
        self.boots[node].push(boot);
        let lost = self.faults && self.dice.percent(self.plan.mix.lose_disk);
        let stale = self.is_stale();
        let host = &mut self.hosts[node];
        host.up = true;
        host.life += 1;
        host.connections = Default::default();
        host.known = [[None; LINKS]; VOTERS];
        host.wake_at = Nanos::MAX;
        host.wake += 1;
        if lost && host.disk.take().is_some() {
            self.observer.terms_last = false;
        } else if stale && host.disk_before.is_some() {
            host.disk = host.disk_before.take();
        }
        let tampered = lost || stale;
        let at = host.clock.at(self.now);
        let disk = host.disk.clone();
        self.trace.line(self.now, node, || {
            let disk = disk.as_ref().map_or("no disk".into(), show::show_durable);
            format!("BOOTS as {boot:?} with {disk}")
        });
        let ceiling = disk.as_ref().map_or(0, |disk| disk.ceiling.0);
        let used = self.observer.used[node];
        let longest = disk.as_ref().map(|disk| disk.longest_promise).unwrap_or_default();
        if used > ceiling {
            self.observer.terms_last = false; // Used before the disk knew, and forgotten.
            self.observer.used[node] = ceiling;
        }
        let host = &mut self.hosts[node];
        let config = Arc::clone(&host.config);
        self.observer.on_disk[node] = nanos(longest);
        self.observer.disk_read(node, disk.as_ref(), tampered);
        self.observer.born(node, (host.life, boot), at, &config, disk.as_ref());
        let now = Timestamp::from_nanos(at.local);
        let machine = Node::new(config, boot, seed, disk, now);
        host.process = Some(Process {
            node: machine,
            writing: None,
            write_next: None,
            stopping: None,
            edges: Default::default(),
        });
        self.schedule_wake(node);
        self.tell_health(node);
        self.kernel_begins(node);
        self.scan_first(node);
    }

    /// Whether a disk holds what it held before its last write, now and then.
    fn is_stale(&mut self) -> bool {
        let stale = self.plan.gate.as_ref().map_or(0, |gate| gate.stale_disk);
        let reloads = self.plan.mix.kinds.contains(&crate::plan::Kind::Reload);
        self.faults && stale > 0 && !reloads && self.dice.percent(stale)
    }

    /// Tells a fresh process what its checks and its preflight found.
    fn tell_health(&mut self, node: usize) {
        let (life, sick) = (self.hosts[node].life, self.hosts[node].sick);
        for (check, failing) in sick.into_iter().enumerate() {
            for _ in 0..2 {
                let check = CheckId(check as u8);
                let input = Input::CheckResult { check, passed: !failing };
                let soon = self.dice.between(0, self.plan.heartbeat / 2);
                self.queue.push(self.now + soon, Event::Local { node, life, input });
            }
        }
        let problems = self.problems(node);
        let input = Input::Preflight { problems };
        let soon = self.dice.between(0, self.plan.heartbeat);
        self.queue.push(self.now + soon, Event::Local { node, life, input });
    }

    pub(crate) fn problems(&self, node: usize) -> Vec<Arc<str>> {
        let bad = self.hosts[node].preflight_bad || self.cloud.denied[node];
        if bad { vec!["no permission for ec2:AssociateAddress".into()] } else { Vec::new() }
    }

    /// A process dies; its kernel closes its sockets unless the machine died with it.
    pub(crate) fn crash(&mut self, node: usize, silent: bool) {
        let host = &mut self.hosts[node];
        let Some(process) = host.process.take() else { return };
        self.trace.line(self.now, node, || (if silent { "HOST DIES" } else { "EXITS" }).into());
        host.backlog.clear();
        if host.frozen.take().is_some() {
            host.clock.set_stopped(self.now, false);
        }
        if let Some(durable) = process.writing
            && !host.disk_fails
            && self.dice.percent(50)
        {
            host.disk_before = host.disk.replace(durable);
        }
        self.observer.died(node, self.now);
        self.haunt(node);
        self.close_sockets(node, silent);
        let host = &mut self.hosts[node];
        if silent {
            host.up = false;
            host.kernel = Default::default();
            let since_boot = self.dice.between(SEC, 60 * SEC);
            host.clock.reboot(self.now, since_boot);
        }
    }

    pub(crate) fn write(&mut self, node: usize, durable: Durable) {
        let host = &mut self.hosts[node];
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        if process.writing.is_some() {
            process.write_next = Some(durable);
            return;
        }
        process.writing = Some(durable);
        let slow = if self.faults { self.plan.mix.disk_delay } else { self.plan.heartbeat / 10 };
        let at = self.now + self.dice.spread(0, slow);
        self.queue.push(at, Event::Written { node, life });
    }

    pub(crate) fn written(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Written { node, life });
            return;
        }
        let fails = host.disk_fails;
        let Some(process) = &mut host.process else { return };
        let Some(durable) = process.writing.take() else { return };
        let next = process.write_next.take();
        if !fails {
            self.observer.on_disk[node] = nanos(durable.longest_promise);
            self.observer.written(node, &durable);
            host.disk_before = host.disk.replace(durable.clone());
        }
        if let Some(next) = next {
            self.write(node, next);
        }
        let input = if fails { Input::PersistFailed } else { Input::Persisted(durable) };
        self.step(node, input);
    }

    /// An operator asks for a handover.
    pub(crate) fn ask_switchover(&mut self, node: usize, switchover: Switchover) {
        self.ask(node, |id| Input::Switchover { id, switchover });
    }

    pub(crate) fn command_done(&mut self, node: usize, id: OperatorId, result: OperatorResult) {
        let life = self.hosts[node].life;
        let command = self.commands.get_mut(id.0 as usize);
        let Some(command) = command.filter(|c| (c.node, c.life) == (node, life)) else {
            return self.observer.violate("interface", || format!("nobody asked for {id:?}"));
        };
        if command.done.is_some() {
            self.observer.violate("interface", || format!("{id:?} is done twice"));
        }
        command.done = Some(result);
    }

    /// The id of a node.
    pub(crate) fn id(node: usize) -> NodeId {
        NodeId(node as u8)
    }
}

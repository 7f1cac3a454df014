// The second half of `ops`: what each order must look like.

impl Judge {
    fn judge(&mut self, output: &Output) {
        let now = self.rig.now;
        let me = (self.rig.config.me, self.rig.me());
        match output {
            Output::Send { to, request } => {
                if let Request::Vote(request) = request
                    && *to == self.others[0]
                {
                    assert!(request.term > self.stood, "{:?} again", request.term);
                    self.stood = request.term;
                    if self.rig.node.status(now).muted.is_zero() {
                        self.promises(me, request.term, request.lease);
                    }
                }
                if self.sent.len() > 64 {
                    self.sent.drain(..32);
                }
                self.sent.push((*to, request.clone()));
            }
            Output::Answer { id, answer } => {
                assert!(self.answered.insert(id.0), "answered twice");
                self.judge_answer(*id, answer);
            }
            Output::Call(call) => {
                self.judge_call(call);
                self.calls.push(call.clone());
            }
            Output::Persist(durable) => {
                assert!(durable.ceiling >= self.written.ceiling);
                //LP assert!(durable.longest_promise >= self.written.longest_promise);
                self.written = durable.clone();
                self.pending.push(durable.clone());
            }
            Output::Stopped => self.ended = true,
            Output::Probe { .. } | Output::OperatorDone { .. } | Output::Event(_) => {}
        }
    }

    fn judge_answer(&mut self, id: RequestId, answer: &Answer) {
        let Some((from, boot, request)) = self.asked.get(&id.0).cloned() else { return };
        match (&request, answer) {
            (Request::Vote(request), Answer::Vote(answer)) => {
                let copy = (from, boot, request.send);
                if answer.vote == Vote::Granted && self.granted.insert(copy) {
                    self.promises((from, boot), request.term, request.lease);
                }
            }
            (Request::Heartbeat(beat), Answer::Heartbeat(answer)) => {
                let copy = (from, boot, beat.send);
                if let Renewal::Renewed { .. } = answer.groups[0].renewal
                    && self.granted.insert(copy)
                {
                    let mastered = beat.groups[0].mastered.expect("renewed without a lease");
                    self.promises((from, boot), mastered.term, mastered.lease);
                }
            }
            _ => {}
        }
    }

    /// The node promised: it must not have promised another before, and nothing shrinks.
    fn promises(&mut self, to: (NodeId, BootId), term: Term, lease: Duration) {
        let now = self.rig.now;
        let until = now + lease;
        self.promise = Some(match self.promise.filter(|promise| promise.until > now) {
            Some(old) if old.to == to => {
                Promise { to, term: old.term.max(term), until: old.until.max(until) }
            }
            Some(old) => panic!("at {now:?} it promised {to:?} though {old:?} runs"),
            None => Promise { to, term, until },
        });
    }

    /// A mutating call: only on a lease with one interval left, and not after that.
    fn judge_call(&self, call: &CloudCall) {
        if call.operation.mutates().is_none() {
            return;
        }
        let group = self.rig.group();
        let now = self.rig.now;
        assert_eq!(group.role, RoleName::Master, "{call:?}");
        assert!(group.lease_left >= H, "{call:?}");
        assert!(call.not_after.expect("a limit") + H <= now + group.lease_left, "{call:?}");
    }
}

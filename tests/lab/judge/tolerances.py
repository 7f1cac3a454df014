"""Every tolerance and bound of the judge, in one place, each with its reason. Seconds, unless a name says otherwise."""

# The journal writes milliseconds, and the clocks of the recording are read a moment apart.
CLOCK = 0.010

# A node whose wall clock is set by the lab: the moment of the setting and the moment of its record differ by the lab's own pace.
SHIFTED_CLOCK = 0.5

# How long a process that was neither stopped nor killed may go without running on a busy machine of two cores, so that it journals the end of
# a lease late. Such lateness is no second master as long as the node did nothing meanwhile; above `STALL` somebody must explain it.
LATE_STEP_DOWN = 0.1
STALL = 1.0

# The journal is written by a thread of its own and never waited for: SIGKILL within this time after an event may cost its line.
JOURNAL_TAIL = 1.0

# From the moment that the lab says it froze or thawed a node to the signal's effect, and from there to the node's first step.
SIGNAL = 0.05

# From the lab's order to kill a process to its notice of the death.
DEATH_NOTICED = 5.0

# From the line that tells of a cut to its effect: a program is run for each rule.
CUT_TAKES = 0.5

# A request on its way: from the node's own deadline to the record of the gateway.
ARRIVAL = 0.5

# Bytes that a cut link held back arrive when TCP repeats them: its pauses double, and the lab's cuts last seconds.
HELD_BACK = 60.0

# From the fault line of an operator's move to the change that it makes in the cloud.
OPERATOR = 5.0

# Design 5: retries are at most this far apart.
RETRY_PAUSE = 2.0

# Design 5.4: within five minutes of a claim the master reads at least this often, and two reads this far apart may have to agree.
GUARD_READ = 10.0
GUARD_AGREEMENT = 2.0

# Answers of a cloud without faults: one read and the two calls of a fenced claim, on a busy machine.
CLOUD_ANSWERS = 3.0

# Repairs are budgeted by the minute, moves by the hour; the product counts from its decision, the judge from the journal's line.
REPAIR_WINDOW = 60.0 - 1.0
MOVE_WINDOW = 3600.0

# Retries pause by full jitter with at most `RETRY_PAUSE`: one a second in the mean, two calls each when fenced, and quick ones at first.
STORM_WINDOW = 10.0
STORM_CALLS = 30

# Beyond the budget of moves only a master that is surely dead is replaced: one silent for clearly longer than one master-down interval.
SURELY_DEAD_LEASES = 2

# The fabric follows the cloud before the change is recorded; a kernel takes a secondary address a moment after. A request that is lost is
# recorded when it times out, so that of the last ones before the end only those that were answered are known.
CLIENT_SETTLES = 0.05
CLIENT_WINDOW = 2.0
CLIENT_LEAST_REQUESTS = 10
# Requests that a busy machine may time out although the address is served.
CLIENT_ERROR_SHARE = 0.05

# From a change of a file, or a load by Nginx, to the node's knowledge of it and the others': its kernel tells at once, commands are run before the
# files are read, and a busy machine takes its time.
NOTICES_CHANGE = 3.0

package operate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Plan is what a command is going to do, turn by turn. Whoever runs it checks
// each turn's guard again before it.
type Plan struct {
	Turns []Turn   `json:"turns"`
	Notes []string `json:"notes"` // what else to know before
}

// newPlan has lists for programs, though they may be empty.
func newPlan(turns ...Turn) *Plan { return &Plan{append([]Turn{}, turns...), []string{}} }

// Turn is one thing to do.
type Turn struct {
	Verb Verb   `json:"verb"`
	Node string `json:"node,omitempty"` // that is restarted or copied, or is to lead
	From string `json:"from,omitempty"` // the leader that hands over
	At   string `json:"at,omitempty"`   // when, of a scheduled switchover
	Says string `json:"says"`
	risk bool   // the guards of a restart were set aside
}

// Verb is what a turn does.
type Verb string

// The verbs.
const (
	Restart    Verb = "restart"
	InPlace    Verb = "restart in place" // of the leader
	Switchover Verb = "switchover"
	Cancel     Verb = "cancel"
	Reinit     Verb = "reinit"
	Failover   Verb = "failover"
	Pause      Verb = "pause"
	Resume     Verb = "resume"
)

// PlanSwitchover makes another node lead: the one that is named, or the fittest.
// With a time, Patroni does it then. Refused: a node that leads, or could not
// take over without loss; a cluster where nobody leads or etcd has no quorum.
func (s *State) PlanSwitchover(to string, at time.Time) (*Plan, error) {
	leader, err := s.led("switch over")
	if err != nil {
		return nil, err
	}
	if !at.IsZero() {
		switch {
		case s.Config.Paused:
			return nil, errors.New("cannot schedule a switchover: Patroni is paused (resume first, or switch over at once)")
		case !at.After(s.At):
			return nil, fmt.Errorf("cannot schedule a switchover for %s: that is over, it is %s", at.Format(time.RFC3339), s.At.In(at.Location()).Format(time.RFC3339))
		}
	}
	target, err := s.target("switch over", to)
	if err != nil {
		return nil, err
	}
	turn := s.handover(target)
	p := newPlan()
	if at.IsZero() {
		p.note("sessions with %s end; writers are refused for some seconds, and nothing that was acknowledged is lost", leader.Name)
	} else {
		turn.At = at.Format(time.RFC3339)
		turn.Says += " at " + turn.At
		p.note("Patroni checks again at that time, and leaves it if %s is not fit then", target.Name)
	}
	if s.Scheduled != nil {
		p.note("it takes the place of the switchover that is scheduled for %s%s", s.Scheduled.At, prefixed(" to ", s.Scheduled.To))
	}
	p.note("%s", s.reserve())
	p.Turns = append(p.Turns, turn)
	return p, nil
}

// handover makes a node that is fit lead.
func (s *State) handover(target *Member) Turn {
	leader := s.Leader().Name
	return Turn{Verb: Switchover, From: leader, Node: target.Name, Says: fmt.Sprintf("%s hands over to %s (%s)", leader, target.Name, s.fitness(target))}
}

// PlanCancel takes back a switchover that is scheduled.
func (s *State) PlanCancel() (*Plan, error) {
	if s.Scheduled == nil {
		return nil, errors.New("cannot cancel: no switchover is scheduled")
	}
	return newPlan(Turn{Verb: Cancel, Says: fmt.Sprintf("the switchover that is scheduled for %s%s is taken back", s.Scheduled.At, prefixed(" to ", s.Scheduled.To))}), nil
}

// Which are the nodes that a restart is asked for: one, those that wait for
// one, or all.
type Which struct {
	Node    string // empty: not one
	Pending bool
	// Force goes on where a restart would leave no synchronous standby, or
	// etcd no reserve.
	Force bool
}

// PlanRestart restarts PostgreSQL on the nodes: the replicas one after the
// other, each only once the one before streams again, then the leader, by
// handing over: Patroni restarts the PostgreSQL of a leader that it demotes. A plan without a turn says that there is nothing to do.
// Refused: what would leave the leader without a synchronous standby, where
// durability asks for one; an etcd that can lose no member more.
func (s *State) PlanRestart(which Which) (*Plan, error) {
	leader, err := s.led("restart")
	if err != nil {
		return nil, err
	}
	if which.Node != "" && s.Member(which.Node) == nil {
		return nil, s.unknown("restart", which.Node)
	}
	var replicas []string
	leads := false
	for _, m := range s.Members {
		switch {
		case !m.InSpec, which.Node != "" && m.Name != which.Node, which.Pending && m.Pending == nil:
		case m.Error != "":
			return nil, fmt.Errorf("cannot restart %s: it does not answer: %s (name the nodes that you want restarted one by one)", m.Name, m.Error)
		case m.leads():
			leads = true
		default:
			replicas = append(replicas, m.Name)
		}
	}
	p := newPlan()
	if len(replicas) == 0 && !leads {
		return p, nil
	}
	if err := s.spare("restart"); err != nil && !which.Force {
		return nil, err
	}
	add := func(verb Verb, node, from, format string, args ...any) {
		p.Turns = append(p.Turns, Turn{Verb: verb, Node: node, From: from, Says: fmt.Sprintf(format, args...), risk: which.Force})
	}
	shrinks := s.shrinks(leader)
	if leads && shrinks != "" {
		add(InPlace, leader.Name, "", "restart %s, which leads, where it is: %s gets smaller, and no replica may have less than the leader", leader.Name, shrinks)
		p.note("nobody can write while %s restarts: some seconds, and its sessions end", leader.Name)
	}
	for _, name := range replicas {
		if err := s.mayRestart(name); err != nil && !which.Force {
			return nil, err
		}
		add(Restart, name, "", "restart %s, and wait until it streams again", name)
	}
	if leads && shrinks == "" {
		target, err := s.target("restart "+leader.Name+", which leads", "")
		switch {
		case err == nil:
			add(Switchover, target.Name, leader.Name, "%s hands over to %s, which restarts it", leader.Name, target.Name)
			p.note("sessions with %s end when it hands over; writers are refused for some seconds, and nothing that was acknowledged is lost", leader.Name)
		case which.Force:
			add(InPlace, leader.Name, "", "restart %s, which leads, where it is: nobody could take over meanwhile", leader.Name)
			p.note("nobody can write while %s restarts: some seconds, and its sessions end", leader.Name)
		default:
			return nil, fmt.Errorf("%w, or --force restarts it where it is", err)
		}
	}
	if s.Paused() {
		p.note("Patroni is paused: nobody takes over if the leader is lost meanwhile")
	}
	p.note("%s", s.reserve())
	return p, nil
}

// mayRestart refuses the restart of a replica that would leave the leader
// without a synchronous standby, where there is to be one.
func (s *State) mayRestart(name string) error {
	if s.Config.Synchronous == "off" {
		return nil
	}
	for _, m := range s.Replicas() {
		if m.Name != name && m.streams() && m.Error == "" && !m.neverSync() {
			return nil
		}
	}
	return fmt.Errorf("cannot restart %s: no other standby streams, so none could be synchronous meanwhile (bring another one back first; with --force, commits are on the leader's disk alone for that time)", name)
}

// shrink are the parameters that a standby must have at least as large as its
// leader had them (PostgreSQL's documentation, 26.4.3): Patroni starts a standby
// with the leader's until the leader itself has the smaller one.
var shrink = []string{"max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_wal_senders", "max_worker_processes"}

// shrinks names a parameter that a restart of the leader would make smaller.
func (s *State) shrinks(leader *Member) string {
	for _, name := range slices.Sorted(maps.Keys(leader.Pending)) {
		var before, after int64
		change := leader.Pending[name]
		if _, err := fmt.Sscan(change.Old, &before); err != nil {
			continue
		}
		if _, err := fmt.Sscan(change.New, &after); err == nil && after < before && slices.Contains(shrink, name) {
			return name
		}
	}
	return ""
}

// PlanReinit copies a replica anew from the leader. Refused: the leader, and
// the last synchronous standby.
func (s *State) PlanReinit(name string) (*Plan, error) {
	leader, err := s.led("copy " + name + " anew")
	if err != nil {
		return nil, err
	}
	m := s.Member(name)
	switch {
	case m == nil:
		return nil, s.unknown("copy anew", name)
	case !m.InSpec:
		return nil, fmt.Errorf("cannot copy %s anew: it is not in the spec (-f names the spec that has it)", name)
	case m.leads():
		return nil, fmt.Errorf("cannot copy %s anew: it leads, and has the data that the others copy (pgha-gen cluster switchover first)", name)
	case m.Error != "":
		return nil, fmt.Errorf("cannot copy %s anew: it does not answer: %s (its machine can be replaced instead)", name, m.Error)
	case m.synchronous() && m.streams() && s.Config.Synchronous != "off" && len(s.standbys(name)) == 0:
		return nil, fmt.Errorf("cannot copy %s anew: it is the last synchronous standby (bring another one back first: pgha-gen cluster status)", name)
	}
	p := newPlan(Turn{Verb: Reinit, Node: name, Says: fmt.Sprintf("delete the data of %s, and copy those of %s", name, leader.Name)})
	p.note("readers that are connected to %s lose their sessions; the copy takes a while, and reads from %s", name, leader.Name)
	return p, nil
}

// standbys are the names of the synchronous standbys that stream and answer, but
// for one.
func (s *State) standbys(without string) []string {
	var all []string
	for _, m := range s.Members {
		if m.synchronous() && m.streams() && m.Error == "" && m.Name != without {
			all = append(all, m.Name)
		}
	}
	return all
}

// PlanFailover makes a node lead although the leader cannot hand over to it:
// the one that is named, or the one that has the most. It says what would be
// lost. Refused: where a switchover does it without loss; a node that does not
// answer or may not lead.
func (s *State) PlanFailover(to string) (*Plan, error) {
	if err := s.votes("fail over"); err != nil {
		return nil, err
	}
	if s.Config == nil {
		return nil, errors.New("cannot fail over: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)")
	}
	leader := s.Leader()
	var target *Member
	if to != "" {
		if target = s.Member(to); target == nil {
			return nil, s.unknown("fail over", to)
		}
		if why := target.dead(); why != "" {
			return nil, fmt.Errorf("cannot fail over to %s: it %s", to, why)
		}
	} else {
		for i := range s.Members {
			m := &s.Members[i]
			if m.dead() == "" && (target == nil || m.Node.Position > target.Node.Position) {
				target = m
			}
		}
		if target == nil {
			return nil, errors.New("cannot fail over: no replica answers that may lead (see pgha-gen cluster status; bring one back first)")
		}
	}
	if leader != nil && leader.Error == "" && leader.State == "running" && s.unfit(target) == "" {
		return nil, fmt.Errorf("cannot fail over: %s leads and can hand over without loss (pgha-gen cluster switchover --to %s)", leader.Name, target.Name)
	}
	p := newPlan(Turn{Verb: Failover, Node: target.Name, Says: target.Name + " is made the leader" + map[bool]string{true: "", false: ", whatever it lacks"}[leader == nil]})
	p.Notes = append(p.Notes, s.loss(target)...)
	p.note("%s", s.reserve())
	return p, nil
}

// loss says what would be lost if a node led from now on, as far as is known.
func (s *State) loss(target *Member) []string {
	have := target.Node.Position
	most, whose := have, ""
	for _, m := range s.Members {
		if m.Node != nil && m.Node.Position > most {
			most, whose = m.Node.Position, m.Name
		}
	}
	if target.Lag != nil && have+*target.Lag > most {
		most, whose = have+*target.Lag, "the leader, by its last word"
	}
	var all []string
	if most > have {
		all = append(all, fmt.Sprintf("%s of WAL would be lost: %s has it up to %s, and %s up to %s", size(most-have), target.Name, lsn(have), whose, lsn(most)))
	} else {
		all = append(all, fmt.Sprintf("as far as is known nothing would be lost: %s has the WAL up to %s, and nobody who answers has more", target.Name, lsn(have)))
	}
	var silent []string
	for _, m := range s.Members {
		if m.Node == nil {
			silent = append(silent, m.Name)
		}
	}
	if len(silent) > 0 {
		all = append(all, fmt.Sprintf("what %s, without an answer, wrote beyond that is not known, and would be lost too", strings.Join(silent, ", ")))
	}
	if s.Config.Synchronous != "off" && !target.synchronous() {
		all = append(all, target.Name+" is no synchronous standby: it may lack commits that were acknowledged")
	}
	return all
}

// PlanPause makes Patroni do nothing by itself, or work again. A plan without a
// turn says that it is so already.
func (s *State) PlanPause(pause bool) (*Plan, error) {
	verb, doing := Pause, "pause"
	if !pause {
		verb, doing = Resume, "resume"
	}
	if err := s.votes(doing); err != nil {
		return nil, err
	}
	p := newPlan()
	switch {
	case s.Config == nil:
		return nil, fmt.Errorf("cannot %s: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)", doing)
	case s.Config.Paused == pause:
	case pause:
		p.Turns = append(p.Turns, Turn{Verb: verb, Says: "Patroni does nothing by itself any more: nobody takes over if the leader is lost, no PostgreSQL that stops is started again"})
		if s.Scheduled != nil {
			p.note("the switchover that is scheduled for %s does not happen while it is paused", s.Scheduled.At)
		}
	default:
		p.Turns = append(p.Turns, Turn{Verb: verb, Says: "Patroni works again: it starts what is stopped, and replaces a leader that is lost"})
		if s.Leader() == nil {
			p.note("nobody leads now: the nodes elect a leader at once")
		}
	}
	return p, nil
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// led is the leader, of a cluster that can be changed.
func (s *State) led(what string) (*Member, error) {
	if err := s.votes(what); err != nil {
		return nil, err
	}
	leader := s.Leader()
	switch {
	case s.Config == nil:
		return nil, fmt.Errorf("cannot %s: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)", what)
	case leader == nil:
		return nil, fmt.Errorf("cannot %s: nobody leads (see pgha-gen cluster status; if nobody takes over by itself, pgha-gen cluster failover --force)", what)
	case leader.Error != "":
		return nil, fmt.Errorf("cannot %s: %s, which leads, does not answer: %s (a leader that is lost is replaced by itself within %d s)", what, leader.Name, leader.Error, s.Config.TTL+2)
	case leader.State != "running":
		return nil, fmt.Errorf("cannot %s: %s leads, and its PostgreSQL is %s (wait until it runs)", what, leader.Name, leader.State)
	}
	return leader, nil
}

// votes refuses an etcd without a quorum: nothing can be changed.
func (s *State) votes(what string) error {
	if voters, healthy := s.quorum(); healthy < voters/2+1 {
		return fmt.Errorf("cannot %s: etcd has no quorum, %d of %d members are healthy (start %d more first; pgha-gen cluster status says which)", what, healthy, voters, voters/2+1-healthy)
	}
	return nil
}

// spare refuses an etcd that lacks members and can lose no more.
func (s *State) spare(what string) error {
	if voters, healthy := s.quorum(); healthy < voters && healthy == voters/2+1 {
		return fmt.Errorf("cannot %s: etcd's quorum is at risk, %d of %d members are healthy and none may be lost (bring the others back first, or --force)", what, healthy, voters)
	}
	return nil
}

// reserve says how many members etcd may lose.
func (s *State) reserve() string {
	voters, healthy := s.quorum()
	more := "no more may be lost"
	if n := healthy - voters/2 - 1; n > 0 {
		more = fmt.Sprintf("%d may be lost", n)
	}
	return fmt.Sprintf("etcd: %d of %d members are healthy, %s", healthy, voters, more)
}

// target is the node that can take over: the one that is named or, of those
// that are fit, the one that is least behind.
func (s *State) target(what, to string) (*Member, error) {
	leader := s.Leader()
	if to != "" {
		m := s.Member(to)
		switch {
		case m == nil:
			return nil, s.unknown(what, to)
		case m.leads():
			return nil, fmt.Errorf("cannot %s to %s: it leads already", what, to)
		}
		if why := s.unfit(m); why != "" {
			return nil, fmt.Errorf("cannot %s to %s: it %s (%s)", what, to, why, s.instead())
		}
		return m, nil
	}
	var best *Member
	var why []string
	for i := range s.Members {
		m := &s.Members[i]
		if m.Name == leader.Name {
			continue
		}
		if not := s.unfit(m); not != "" {
			why = append(why, m.Name+" "+not)
			continue
		}
		if best == nil || *m.Lag < *best.Lag {
			best = m
		}
	}
	if best == nil {
		if len(why) == 0 {
			why = []string{"there is no replica"}
		}
		return nil, fmt.Errorf("cannot %s: nobody could take over: %s (wait or bring one back: pgha-gen cluster status)", what, strings.Join(why, "; "))
	}
	return best, nil
}

// instead names who could take over.
func (s *State) instead() string {
	var fit []string
	for _, m := range s.Replicas() {
		if s.unfit(&m) == "" {
			fit = append(fit, m.Name)
		}
	}
	if len(fit) == 0 {
		return "no other node could, either; wait, or bring one back"
	}
	return strings.Join(fit, " and ") + " could"
}

// unfit says why a member could not take over from the leader now; empty: it
// could.
func (s *State) unfit(m *Member) string {
	leader := s.Leader()
	switch {
	case !m.InSpec:
		return "is not in the spec"
	case m.Error != "":
		return "does not answer: " + m.Error
	case m.neverLeads():
		return "may never lead, by its tags"
	case m.State != "streaming":
		return "is " + m.State + ", and does not stream"
	case leader != nil && m.Timeline != leader.Timeline:
		return fmt.Sprintf("is on timeline %d, and %s on %d", m.Timeline, leader.Name, leader.Timeline)
	case m.Lag == nil:
		return "does not say how far it is behind"
	case *m.Lag > s.Config.MaximumLag:
		return fmt.Sprintf("is %s behind, more than maximum_lag_on_failover (%s)", size(*m.Lag), size(s.Config.MaximumLag))
	case s.Config.Synchronous == "on" && !m.synchronous():
		return "is not the synchronous standby"
	case s.Config.Synchronous == "quorum" && !m.synchronous():
		return "is not in the quorum yet, and may lack commits"
	}
	return ""
}

// fitness says why a member can take over.
func (s *State) fitness(m *Member) string {
	text := fmt.Sprintf("streams, %s behind", size(*m.Lag))
	switch s.Config.Synchronous {
	case "on":
		text += ", synchronous"
	case "quorum":
		text += ", in the quorum"
	}
	return text
}

// dead says why a member cannot be made the leader at all.
func (m *Member) dead() string {
	switch {
	case !m.InSpec:
		return "is not in the spec (name another)"
	case m.leads():
		return "leads already (pgha-gen cluster status)"
	case m.Node == nil:
		return "does not answer: " + m.Error + " (name another, or bring it back)"
	case m.neverLeads():
		return "may never lead, by its tags (change them in the spec)"
	case m.Node.State != "running":
		return "has no PostgreSQL that runs, but is " + m.Node.State + " (name another, or wait)"
	}
	return ""
}

func (s *State) unknown(what, name string) error {
	var names []string
	for _, m := range s.Members {
		names = append(names, m.Name)
	}
	return fmt.Errorf("cannot %s: %s is no member of Patroni's cluster (members: %s)", what, name, strings.Join(names, ", "))
}

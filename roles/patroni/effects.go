package patroni

import (
	"slices"

	"pgha-gen/generator/effect"
	"pgha-gen/roles/patroni/catalogue"
)

// standby are the parameters that a replica must have at least as large as its
// leader (PostgreSQL, hot standby, administrator's overview). Patroni starts
// one that would not with its leader's value (effective_configuration in
// postgresql/config.py): a lower one counts on the leader first.
var standby = []string{
	"max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_wal_senders", "max_worker_processes",
}

// effects are those of PostgreSQL's parameters in this version of the server.
func (s *Settings) effects() effect.Rules {
	known := catalogue.Read(s.PostgreSQL)
	var rules effect.Rules
	for _, name := range known.Names() {
		p, ok := known.Find(name)
		if !ok || p.Preset() {
			continue
		}
		rule := effect.Rule{Path: "/etc/patroni/config.yml", Key: "postgresql.parameters." + name, Effect: effect.Reload}
		if slices.Contains(shared, p.Name) {
			rule.Path, rule.Key, rule.Effect = "/etc/patroni/bootstrap.yml", "bootstrap.dcs."+rule.Key, effect.Dynamic
		}
		switch {
		case slices.Contains(standby, p.Name):
			rule.Effect, rule.What = effect.Restart, "PostgreSQL has to be restarted for it: if it was raised, replicas first, the leader last, by a switchover; if it was lowered, the leader first, where it is"
		case p.Restart():
			rule.Effect, rule.What = effect.Restart, "PostgreSQL has to be restarted for it: replicas first, the leader last, by a switchover"
		case p.Context == "backend" || p.Context == "superuser-backend":
			rule.What = "PostgreSQL reloads; it counts for new sessions"
		default:
			rule.What = "PostgreSQL reloads"
		}
		rules = append(rules, rule)
	}
	return rules
}

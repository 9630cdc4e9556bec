package patroni

// UseDistribution makes a bake install PostgreSQL and Patroni from the base
// image's own repository.
func (s *Settings) UseDistribution() { s.APT.Repository = Distribution }

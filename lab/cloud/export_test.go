package cloud

import (
	"fmt"
	"maps"
)

// SetAttribute sets one key of an instance's user metadata, within the limits
// of Put.
func (c *Cloud) SetAttribute(id, key, value string) error {
	return c.update(id, func(in *Instance) error {
		in.Attributes = maps.Clone(in.Attributes)
		if in.Attributes == nil {
			in.Attributes = map[string]string{}
		}
		in.Attributes[key] = value
		return checkAttributes(in.Attributes)
	})
}

// RemoveAttribute removes one key of an instance's user metadata; a key that is
// not there is no error.
func (c *Cloud) RemoveAttribute(id, key string) error {
	return c.update(id, func(in *Instance) error {
		in.Attributes = maps.Clone(in.Attributes)
		delete(in.Attributes, key)
		return nil
	})
}

// SetMaintenanceEvent sets what the instance is told of its host's maintenance;
// "" is NONE.
func (c *Cloud) SetMaintenanceEvent(id, event string) error {
	return c.update(id, func(in *Instance) error {
		in.MaintenanceEvent = event
		if event == "" {
			in.MaintenanceEvent = "NONE"
		}
		return nil
	})
}

func (c *Cloud) update(id string, change func(*Instance) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	in, ok := c.instances[id]
	if !ok {
		return fmt.Errorf("instance %q is not in the cloud (put it first)", id)
	}
	if err := change(&in); err != nil {
		return fmt.Errorf("instance %q: %w", id, err)
	}
	c.set(in)
	return nil
}

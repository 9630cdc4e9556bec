// Package version says which version of the plugin this is.
package version

import "github.com/hashicorp/packer-plugin-sdk/version"

// Plugin is the version that the plugin tells Packer, which loads a plugin
// only if the name of its file says the same.
func Plugin() *version.PluginVersion { return version.NewPluginVersion("0.1.0", "", "") }

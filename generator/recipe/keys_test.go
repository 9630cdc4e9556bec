package recipe_test

import (
	"maps"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/zclconf/go-cty/cty"
)

// keys are the attributes of a builder or provisioner, as its documentation
// lists them; those that must be given end in "!".
type keys map[string]cty.Type

func (k keys) spec() hcldec.ObjectSpec {
	spec := hcldec.ObjectSpec{}
	for name, typ := range k {
		name, required := strings.CutSuffix(name, "!")
		spec[name] = &hcldec.AttrSpec{Name: name, Type: typ, Required: required}
	}
	return spec
}

func keysOf(typ cty.Type, names string) keys {
	k := keys{}
	for _, name := range strings.Fields(names) {
		k[name] = typ
	}
	return k
}

func union(all ...keys) keys {
	k := keys{}
	for _, one := range all {
		maps.Copy(k, one)
	}
	return k
}

func texts() cty.Type { return cty.List(cty.String) }

func textMap() cty.Type { return cty.Map(cty.String) }

// communicator are the keys of Packer's SSH connections (packer-plugin-sdk,
// communicator). Durations are texts.
func communicator() keys {
	return union(
		keysOf(cty.String, `communicator pause_before_connecting ssh_host ssh_username! ssh_password
			ssh_keypair_name temporary_key_pair_name temporary_key_pair_type ssh_private_key_file
			ssh_certificate_file ssh_timeout ssh_wait_timeout ssh_bastion_host ssh_bastion_username
			ssh_bastion_password ssh_bastion_private_key_file ssh_bastion_certificate_file
			ssh_file_transfer_method ssh_proxy_host ssh_proxy_username ssh_proxy_password
			ssh_keep_alive_interval ssh_read_write_timeout`),
		keysOf(cty.Number, `ssh_port temporary_key_pair_bits ssh_handshake_attempts ssh_bastion_port ssh_proxy_port`),
		keysOf(cty.Bool, `ssh_clear_authorized_keys ssh_pty ssh_agent_auth ssh_disable_agent_forwarding
			ssh_bastion_agent_auth ssh_bastion_interactive`),
		keysOf(texts(), `ssh_ciphers ssh_key_exchange_algorithms ssh_remote_tunnels ssh_local_tunnels`),
	)
}

// builderKeys are those of packer-plugin-yandex 1.1.3, packer-plugin-qemu 1.1.4
// (as far as a bake from a disk image needs them), and Packer's own null builder.
func builderKeys(kind string) keys {
	switch kind {
	case "yandex":
		return union(communicator(),
			keysOf(cty.String, `endpoint service_account_key_file token folder_id! serial_log_file state_timeout
				instance_name platform_id service_account_id disk_name disk_type subnet_id zone image_name
				image_description image_family target_image_folder_id source_image_family source_image_name
				source_image_id source_image_folder_id`),
			keysOf(cty.Number, `max_retries instance_cores instance_core_fraction instance_gpus instance_mem_gb
				disk_size_gb image_min_disk_size_gb`),
			keysOf(cty.Bool, `preemptible use_ipv4_nat use_ipv6 use_internal_ip image_pooled skip_create_image`),
			keysOf(texts(), `security_group_ids image_product_ids`),
			keysOf(textMap(), `labels metadata metadata_from_file disk_labels image_labels`))
	case "qemu":
		return union(communicator(),
			keysOf(cty.String, `iso_url! iso_checksum! format disk_size accelerator cpu_model machine_type net_device
				disk_interface disk_discard disk_detect_zeroes efi_firmware_code efi_firmware_vars
				output_directory vm_name qemu_binary shutdown_command shutdown_timeout boot_wait
				http_directory cd_label`),
			keysOf(cty.Number, `memory cpus`),
			keysOf(cty.Bool, `disk_image skip_resize_disk use_backing_file skip_compaction disk_compression headless efi_boot`),
			keysOf(texts(), `iso_urls boot_command cd_files`),
			keysOf(textMap(), `http_content cd_content`))
	case "null":
		k := communicator()
		delete(k, "ssh_host")
		k["ssh_host!"] = cty.String
		return k
	}
	return nil
}

func provisionerKeys(kind string) keys {
	switch kind {
	case "shell":
		return union(
			keysOf(cty.String, `script inline_shebang execute_command remote_folder remote_file remote_path
				start_retry_timeout env_var_format pause_before pause_after timeout`),
			keysOf(cty.Bool, `binary use_env_var_file skip_clean expect_disconnect`),
			keysOf(cty.Number, `max_retries`),
			keysOf(texts(), `inline scripts environment_vars only except`),
			keys{"valid_exit_codes": cty.List(cty.Number), "env": textMap()})
	case "file":
		return union(
			keysOf(cty.String, `source content destination! direction pause_before timeout`),
			keysOf(cty.Bool, `generated`),
			keysOf(cty.Number, `max_retries`),
			keysOf(texts(), `sources only except`))
	}
	return nil
}

variable "base_url" {
  description = "Cloud image to start from: a file or URL."
  type        = string
}

variable "base_checksum" {
  description = "Of that image, as sha256:<hex>."
  type        = string
}

variable "ssh_username" {
  type    = string
  default = "ubuntu"
}

variable "ssh_private_key_file" {
  description = "Key that the image lets in."
  type        = string
  default     = "~/.ssh/id_ed25519"
}

variable "role" {
  description = "What the image is for: etcd, patroni or haproxy."
  type        = string
  default     = "etcd"
}

source "qemu" "base" {
  disk_image   = true
  iso_url      = var.base_url
  iso_checksum = var.base_checksum
  disk_size    = "10G"
  headless     = true

  ssh_username              = var.ssh_username
  ssh_private_key_file      = var.ssh_private_key_file
  ssh_clear_authorized_keys = true
  shutdown_command          = "$(command -v sudo) poweroff"

  output_directory = var.role
  vm_name          = "${var.role}.qcow2"
}

build {
  sources = ["source.qemu.base"]

  provisioner "shell" {
    inline = ["echo 'your own steps come first'"]
  }

  provisioner "pgha" {
    spec = "${path.root}/pgha.yaml"
    role = var.role
  }
}

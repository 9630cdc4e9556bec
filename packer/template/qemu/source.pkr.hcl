variable "base_url" {
  description = "Disk image to start from: a file or URL."
  type        = string
}

variable "base_checksum" {
  type = string
}

variable "ssh_username" {
  type = string
}

variable "ssh_private_key_file" {
  description = "Key that the seed lets in; give both when building."
  type        = string
  default     = ""
}

variable "seed_directory" {
  description = "Folder with the user-data and meta-data (NoCloud) of the machine that bakes."
  type        = string
  default     = ""
}

variable "disk_size_gb" {
  type = number
}

variable "accelerator" {
  description = "kvm, or tcg where the host has none."
  type        = string
  default     = "kvm"
}

variable "image_name" {
  type = string
}

variable "output_directory" {
  description = "Where the image goes; must not exist. Beside the rendered folder, as <cluster>-<role>.image, if empty."
  type        = string
  default     = ""
}

locals {
  source = "source.qemu.image"
}

source "qemu" "image" {
  disk_image   = true
  iso_url      = var.base_url
  iso_checksum = var.base_checksum
  format       = "qcow2"
  disk_size    = "${var.disk_size_gb}G"

  # What the bake removes shall not take room in the image.
  disk_discard       = "unmap"
  disk_detect_zeroes = "unmap"

  accelerator = var.accelerator
  headless    = true
  cpus        = 2
  memory      = 2048
  boot_wait   = "-1s" # nobody types anything at its boot

  cd_files = var.seed_directory == "" ? [] : ["${var.seed_directory}/user-data", "${var.seed_directory}/meta-data"]
  cd_label = "cidata"

  ssh_username              = var.ssh_username
  ssh_private_key_file      = var.ssh_private_key_file
  ssh_clear_authorized_keys = true
  # Packer's own choice is scp: it comes with the client, which not every base image has.
  ssh_file_transfer_method = "sftp"
  ssh_timeout              = "15m"
  shutdown_command         = "$(command -v sudo) poweroff"

  # Not in the rendered folder: it is replaced as a whole, and never with a
  # foreign file in it.
  output_directory = var.output_directory == "" ? "${path.root}/../../../${var.image_name}.image" : var.output_directory
  vm_name          = "${var.image_name}.qcow2"
}

variable "token" {
  description = "OAuth or IAM token; YC_TOKEN if empty."
  type        = string
  default     = ""
  sensitive   = true
}

variable "service_account_key_file" {
  description = "Key of the service account that bakes; YC_SERVICE_ACCOUNT_KEY_FILE if empty."
  type        = string
  default     = ""
}

variable "endpoint" {
  description = "API endpoint, host:port; the plugin's own if empty."
  type        = string
  default     = ""
}

variable "folder_id" {
  type = string
}

variable "zone" {
  type = string
}

variable "subnet_id" {
  description = "Subnet of the machine that bakes; a network of its own is made and removed if empty."
  type        = string
}

variable "source_image_id" {
  description = "Base image; wins over the family."
  type        = string
}

variable "source_image_family" {
  type = string
}

variable "ssh_username" {
  type = string
}

variable "disk_size_gb" {
  type = number
}

variable "image_family" {
  type = string
}

variable "image_description" {
  type = string
}

variable "image_labels" {
  type = map(string)
}

locals {
  source = "source.yandex.image"
}

source "yandex" "image" {
  endpoint                 = var.endpoint
  token                    = var.token
  service_account_key_file = var.service_account_key_file
  folder_id                = var.folder_id

  zone         = var.zone
  subnet_id    = var.subnet_id
  use_ipv4_nat = true

  platform_id     = "standard-v3"
  instance_cores  = 2
  instance_mem_gb = 4
  disk_type       = "network-ssd"
  disk_size_gb    = var.disk_size_gb

  source_image_id     = var.source_image_id
  source_image_family = var.source_image_family

  ssh_username = var.ssh_username
  # Packer's own choice is scp: it comes with the client, which not every base image has.
  ssh_file_transfer_method = "sftp"
  # Without this the build's own key stays in the image.
  ssh_clear_authorized_keys = true
  # One limit for creating the machine, stopping it and making the image; the
  # plugin's 5m is too short for the last on a busy day.
  state_timeout = "15m"

  image_name             = "${var.image_family}-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  image_family           = var.image_family
  image_description      = var.image_description
  image_labels           = var.image_labels
  image_min_disk_size_gb = var.disk_size_gb
}

variable "environment" {
  description = "What bake.sh is told: the role, versions, mirrors."
  type        = map(string)
}

build {
  name = "pgha"

  # The builder's own. A list of sources takes no variables.
  dynamic "source" {
    for_each = [local.source]
    labels   = [source.value]
    content {}
  }

  provisioner "shell" {
    inline = ["rm -rf /tmp/pgha && mkdir /tmp/pgha"]
  }

  # On the machine both folders are one.
  provisioner "file" {
    sources = [
      "${path.root}/../common/base.sh",
      "${path.root}/../common/seal.sh",
      "${path.root}/../common/rootfs",
      "${path.root}/bake.sh",
      "${path.root}/rootfs",
    ]
    destination = "/tmp/pgha/"
  }

  provisioner "shell" {
    environment_vars = [for name, value in var.environment : "${name}=${value}"]
    # Where there is no sudo, the login is root already.
    execute_command = "$(command -v sudo) env {{ .Vars }} sh {{ .Path }}"
    # One command: with two, the status would be the second's, and a bake that
    # refuses would leave an image.
    inline = ["sh /tmp/pgha/bake.sh && rm -rf /tmp/pgha"]
  }
}

variable "host" {
  description = "The machine that is baked: its name or address."
  type        = string
}

variable "port" {
  type    = number
  default = 22
}

variable "ssh_username" {
  type = string
}

variable "ssh_private_key_file" {
  description = "Key to log in with; the agent's if empty."
  type        = string
  default     = ""
}

locals {
  source = "source.null.image"
}

source "null" "image" {
  communicator         = "ssh"
  ssh_host             = var.host
  ssh_port             = var.port
  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_agent_auth       = var.ssh_private_key_file == ""
  # Packer's own choice is scp: it comes with the client, which not every base image has.
  ssh_file_transfer_method = "sftp"
}

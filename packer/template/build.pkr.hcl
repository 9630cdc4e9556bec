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

variable "environment" {
  description = "What bake.sh is told: the role, versions, mirrors."
  type        = map(string)
}

build {
  name    = "pgha"
  sources = ["source.yandex.image"]

  provisioner "shell" {
    inline = ["rm -rf /tmp/pgha && mkdir /tmp/pgha"]
  }

  provisioner "file" {
    source      = "${path.root}/base.sh"
    destination = "/tmp/pgha/base.sh"
  }

  provisioner "file" {
    source      = "${path.root}/bake.sh"
    destination = "/tmp/pgha/bake.sh"
  }

  provisioner "file" {
    source      = "${path.root}/rootfs"
    destination = "/tmp/pgha"
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

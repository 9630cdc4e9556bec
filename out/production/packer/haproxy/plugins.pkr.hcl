packer {
  required_plugins {
    yandex = {
      source  = "github.com/hashicorp/yandex"
      version = "= 1.1.3"
    }
  }
}

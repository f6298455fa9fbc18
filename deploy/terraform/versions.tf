# One lake in BigQuery and who may do what with it. Everything is in one project; call the module once
# per lake. Nothing here gives anybody a role on the whole project but the right to run jobs in it.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0, < 8.0"
    }
  }
}

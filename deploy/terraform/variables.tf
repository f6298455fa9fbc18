variable "project_id" {
  description = "Project that holds the lake, and that jobs run in and are billed to."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the project's id (6 to 30 lower-case letters, digits, hyphens), not its name or number."
  }
}

variable "location" {
  description = "Where the data is kept: a multi-region (EU, US) or a region. It can never be changed, and the sink's `location` has to be the same."
  type        = string

  validation {
    condition     = can(regex("^(EU|US|[a-z]+(-[a-z]+)+[0-9]+)$", var.location))
    error_message = "location is EU, US, or a region like europe-west3."
  }
}

variable "dataset_id" {
  description = "Dataset of the lake; the sink's `dataset`."
  type        = string
  default     = "lake"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.dataset_id)) && length(var.dataset_id) <= 1024
    error_message = "dataset_id has letters, digits and underscores only, 1024 at most."
  }
}

variable "models_dataset_id" {
  description = "Dataset of the marts; staging and intermediate models are in two more, with _staging and _intermediate at the end. Null: no models, no builder."
  type        = string
  default     = "analytics"

  validation {
    condition     = var.models_dataset_id == null || can(regex("^[A-Za-z0-9_]{1,1000}$", var.models_dataset_id))
    error_message = "models_dataset_id has letters, digits and underscores only."
  }
}

variable "mode" {
  description = "The sink's `mode`: its role has the permissions of this mode and no other."
  type        = string
  default     = "batch"

  validation {
    condition     = contains(["batch", "stream", "bigquery-cdc"], var.mode)
    error_message = "mode is batch, stream or bigquery-cdc."
  }
}

variable "name" {
  description = "Begins the names of service accounts, roles and the identity pool; one per lake of a project."
  type        = string
  default     = "tributary"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,18}[a-z0-9]$", var.name))
    error_message = "name is 4 to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "labels" {
  description = "Labels of every dataset, for the bill."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels have lower-case letters, digits, hyphens and underscores only, 63 at most."
  }
}

variable "kms_key" {
  description = "Customer-managed key of every table, as projects/P/locations/L/keyRings/R/cryptoKeys/K, in the lake's location. Null: Google's own key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is the full name of a key, without a version."
  }
}

variable "time_travel_hours" {
  description = "How far back a table can be read or restored, in hours; what was deleted is kept, and paid for, as long."
  type        = number
  default     = 168

  validation {
    condition     = var.time_travel_hours >= 48 && var.time_travel_hours <= 168 && var.time_travel_hours % 24 == 0
    error_message = "time_travel_hours is a whole number of days from 48 to 168 hours."
  }
}

variable "readers" {
  description = "Others who may read the lake and its models, as IAM members: group:analysts@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.readers : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", member))])
    error_message = "readers are IAM members, with their kind in front: group:analysts@example.com."
  }
}

variable "gke" {
  description = "Kubernetes service accounts that act as the sink, the builder and the reader, by GKE's workload identity. Null: none."
  type = object({
    project_id = string
    namespace  = string
    # Roles that are left out run elsewhere.
    sink   = optional(string)
    models = optional(string)
    reader = optional(string)
  })
  default = null

  validation {
    condition     = var.gke == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.gke.namespace))
    error_message = "gke.namespace is a Kubernetes namespace."
  }
}

variable "federation" {
  description = "An identity provider outside Google whose tokens act as the service accounts, without a key to keep. Subjects are what its tokens have in `sub`. Null: none."
  type = object({
    issuer    = string
    audiences = optional(list(string), [])
    sink      = optional(set(string), [])
    models    = optional(set(string), [])
    reader    = optional(set(string), [])
  })
  default = null

  validation {
    condition     = var.federation == null || can(regex("^https://[^/]+", var.federation.issuer))
    error_message = "federation.issuer is an https address, whose /.well-known/openid-configuration Google can read."
  }
}

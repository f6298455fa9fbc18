# One account per role, so that what one holds cannot be used for another. No keys are made: who runs
# outside Google uses federation.

locals {
  accounts = toset(var.models_dataset_id == null ? ["sink", "reader"] : ["sink", "models", "reader"])

  account_names = {
    sink   = "Tributary: loads the lake"
    models = "Tributary: builds the models"
    reader = "Tributary: status and verify"
  }
}

resource "google_service_account" "role" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = "${var.name}-${each.value}"
  display_name = local.account_names[each.value]
}

# GKE: pods of a Kubernetes service account get the account's tokens.
resource "google_service_account_iam_member" "gke" {
  for_each = var.gke == null ? {} : {
    for account in local.accounts : account => var.gke[account] if var.gke[account] != null
  }

  service_account_id = google_service_account.role[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.gke.project_id}.svc.id.goog[${var.gke.namespace}/${each.value}]"
}

# Elsewhere: tokens of the provider, exchanged for the account's.
resource "google_iam_workload_identity_pool" "elsewhere" {
  count = var.federation == null ? 0 : 1

  project                   = var.project_id
  workload_identity_pool_id = var.name
  display_name              = "Tributary"
}

resource "google_iam_workload_identity_pool_provider" "elsewhere" {
  count = var.federation == null ? 0 : 1

  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.elsewhere[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "oidc"
  display_name                       = "OIDC"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }

  # Of a provider that others use too, only the subjects named here get in at all.
  attribute_condition = "assertion.sub in ${jsonencode(local.federated_subjects)}"

  oidc {
    issuer_uri        = var.federation.issuer
    allowed_audiences = var.federation.audiences
  }
}

locals {
  federated = var.federation == null ? {} : merge([
    for account in local.accounts : {
      for subject in var.federation[account] : "${account} ${subject}" => { account = account, subject = subject }
    }
  ]...)

  federated_subjects = sort(distinct([for one in values(local.federated) : one.subject]))
}

resource "google_service_account_iam_member" "federated" {
  for_each = local.federated

  service_account_id = google_service_account.role[each.value.account].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.elsewhere[0].name}/subject/${each.value.subject}"
}

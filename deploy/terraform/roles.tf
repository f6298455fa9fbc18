locals {
  # Roles have no hyphens in their ids.
  role_prefix = replace(var.name, "-", "_")
}

resource "google_project_iam_custom_role" "jobs" {
  project     = var.project_id
  role_id     = "${local.role_prefix}_jobs"
  title       = "Tributary: run BigQuery jobs"
  description = "Running queries and loads, without access to any data."
  permissions = local.permissions.project
}

resource "google_project_iam_custom_role" "sink" {
  project     = var.project_id
  role_id     = "${local.role_prefix}_sink"
  title       = "Tributary: write the lake (${var.mode})"
  description = "Granted on the lake's dataset only."
  permissions = local.permissions.sink[var.mode]
}

resource "google_project_iam_custom_role" "reader" {
  project     = var.project_id
  role_id     = "${local.role_prefix}_reader"
  title       = "Tributary: read the lake"
  description = "Granted on the datasets of the lake and its models only."
  permissions = local.permissions.reader
}

resource "google_project_iam_custom_role" "models" {
  count = var.models_dataset_id == null ? 0 : 1

  project     = var.project_id
  role_id     = "${local.role_prefix}_models"
  title       = "Tributary: build the models"
  description = "Granted on the datasets of the models only."
  permissions = local.permissions.models
}

resource "google_project_iam_member" "jobs" {
  for_each = google_service_account.role

  project = var.project_id
  role    = google_project_iam_custom_role.jobs.id
  member  = each.value.member
}

resource "google_bigquery_dataset_iam_member" "sink" {
  project    = var.project_id
  dataset_id = google_bigquery_dataset.lake.dataset_id
  role       = google_project_iam_custom_role.sink.id
  member     = google_service_account.role["sink"].member
}

# The builder reads the lake and writes beside it.
resource "google_bigquery_dataset_iam_member" "lake_reader" {
  for_each = setsubtract(local.accounts, ["sink"])

  project    = var.project_id
  dataset_id = google_bigquery_dataset.lake.dataset_id
  role       = google_project_iam_custom_role.reader.id
  member     = google_service_account.role[each.value].member
}

resource "google_bigquery_dataset_iam_member" "models" {
  for_each = google_bigquery_dataset.models

  project    = var.project_id
  dataset_id = each.value.dataset_id
  role       = google_project_iam_custom_role.models[0].id
  member     = google_service_account.role["models"].member
}

# People and programs beside ours. They run their jobs wherever they may: that right is not given here.
resource "google_bigquery_dataset_iam_member" "readers" {
  for_each = {
    for pair in setproduct(concat([var.dataset_id], local.models_datasets), var.readers) :
    "${pair[0]} ${pair[1]}" => { dataset_id = pair[0], member = pair[1] }
  }

  project    = var.project_id
  dataset_id = each.value.dataset_id
  role       = google_project_iam_custom_role.reader.id
  member     = each.value.member

  depends_on = [google_bigquery_dataset.lake, google_bigquery_dataset.models]
}

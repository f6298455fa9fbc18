locals {
  models_datasets = var.models_dataset_id == null ? [] : [
    var.models_dataset_id,
    "${var.models_dataset_id}_staging",
    "${var.models_dataset_id}_intermediate",
  ]
}

resource "google_bigquery_dataset" "lake" {
  project               = var.project_id
  dataset_id            = var.dataset_id
  location              = var.location
  description           = "Tables of the source database, kept by Tributary."
  labels                = merge({ managed-by = "tributary" }, var.labels)
  max_time_travel_hours = var.time_travel_hours

  # The log may not reach back to the beginning any more: no `terraform destroy` takes the lake along.
  delete_contents_on_destroy = false

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.bigquery]
}

# dbt makes datasets that are missing, which takes a permission on the whole project: so they are here.
resource "google_bigquery_dataset" "models" {
  for_each = toset(local.models_datasets)

  project               = var.project_id
  dataset_id            = each.value
  location              = var.location
  description           = "Models over ${var.dataset_id}, built by Tributary; they can be built anew at any time."
  labels                = merge({ managed-by = "tributary" }, var.labels)
  max_time_travel_hours = 48

  delete_contents_on_destroy = true

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.bigquery]
}

# BigQuery itself uses the key, not who reads or writes.
data "google_bigquery_default_service_account" "bigquery" {
  count   = var.kms_key == null ? 0 : 1
  project = var.project_id
}

resource "google_kms_crypto_key_iam_member" "bigquery" {
  count = var.kms_key == null ? 0 : 1

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_bigquery_default_service_account.bigquery[0].email}"
}

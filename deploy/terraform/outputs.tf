output "service_accounts" {
  description = "Addresses of the service accounts, by role."
  value       = { for account, made in google_service_account.role : account => made.email }
}

output "sink" {
  description = "What belongs into the sink's block of tributary.yaml."
  value = {
    type     = "bigquery"
    project  = var.project_id
    dataset  = google_bigquery_dataset.lake.dataset_id
    location = var.location
    mode     = var.mode
  }
}

output "identity_provider" {
  description = "Full name of the identity provider, for the credential configuration of who runs outside Google."
  value       = one(google_iam_workload_identity_pool_provider.elsewhere[*].name)
}

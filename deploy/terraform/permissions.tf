# The same lists as sinks/bigquery/permissions.ts, which `tributary check` goes by. A test compares them:
# change both.

locals {
  permissions = {
    # On the project: running jobs. Who runs a job may look it up and cancel it without more.
    project = [
      "bigquery.jobs.create",
    ]

    # On the lake's dataset, for each mode of the sink.
    sink = {
      batch = [
        "bigquery.datasets.get",
        "bigquery.tables.create",
        "bigquery.tables.delete",
        "bigquery.tables.get",
        "bigquery.tables.getData",
        "bigquery.tables.list",
        "bigquery.tables.update",
        "bigquery.tables.updateData",
      ]
      stream = [
        "bigquery.datasets.get",
        "bigquery.tables.create",
        "bigquery.tables.delete",
        "bigquery.tables.get",
        "bigquery.tables.getData",
        "bigquery.tables.list",
        "bigquery.tables.update",
        "bigquery.tables.updateData",
      ]
      bigquery-cdc = [
        "bigquery.datasets.get",
        "bigquery.tables.create",
        "bigquery.tables.delete",
        "bigquery.tables.get",
        "bigquery.tables.getData",
        "bigquery.tables.list",
        "bigquery.tables.update",
        "bigquery.tables.updateData",
      ]
    }

    # On the lake's dataset, for `tributary status`, `tributary verify` and the builder of the models.
    reader = [
      "bigquery.datasets.get",
      "bigquery.tables.get",
      "bigquery.tables.getData",
      "bigquery.tables.list",
    ]

    # On the datasets of the models, for their builder.
    models = [
      "bigquery.datasets.get",
      "bigquery.tables.create",
      "bigquery.tables.delete",
      "bigquery.tables.get",
      "bigquery.tables.getData",
      "bigquery.tables.list",
      "bigquery.tables.update",
      "bigquery.tables.updateData",
    ]
  }
}

"""Runs local-bigquery, whose own command line follows, without a network and with three repairs.

It ends with its standard input: whoever started it may be killed before it can end it.
"""

import os
import sys
import threading

import duckdb
from local_bigquery import cli
from local_bigquery.engine import database
from local_bigquery.jobs import merge, query, runner
from sqlglot import exp

in_transaction: set[int] = set()


class Enlisted:
    """A cursor whose transaction is open already, and that says so without asking DuckDB.

    The emulator tries BEGIN before each MERGE and takes a refusal for "a transaction is open". DuckDB 1.5
    refuses too, but the attempt ends the open transaction.
    """

    def __init__(self, cursor):
        self.cursor = cursor

    def __getattr__(self, name):
        return getattr(self.cursor, name)

    def execute(self, sql, *parameters):
        if sql == "BEGIN":
            raise duckdb.TransactionException("a transaction is open")
        return self.cursor.execute(sql, *parameters)


def follow_transactions(run):
    """Remembers which cursors have a transaction open; a statement that fails ends it."""

    def followed(cursor, statement, *rest):
        try:
            result = run(cursor, statement, *rest)
        except Exception:
            in_transaction.discard(id(cursor))
            raise
        if isinstance(statement, exp.Transaction):
            in_transaction.add(id(cursor))
        if isinstance(statement, (exp.Commit, exp.Rollback)):
            in_transaction.discard(id(cursor))
        return result

    return followed


def merge_where_it_is(run):
    def merged(cursor, statement, context):
        is_open = id(cursor) in in_transaction
        return run(Enlisted(cursor) if is_open else cursor, statement, context)

    return merged


def name_created_table(execute):
    """The service names the table that CREATE TABLE AS SELECT made as the job's destination; dbt reads it."""

    def executed(*arguments, **options):
        statistics, children, destination = execute(*arguments, **options)
        made = statistics.statementType == "CREATE_TABLE_AS_SELECT" and not children
        if destination is None and made:
            destination = statistics.ddlTargetTable
        return statistics, children, destination

    return executed


def keep_parameters_once(make):
    """Each statement of a script is kept as a job, with a copy of all parameters: megabytes where they are rows."""

    def made(project_id, job_id, configuration, *rest, **options):
        if job_id.startswith("script_job_"):
            statement = configuration.query.replace(queryParameters=None)
            configuration = configuration.replace(query=statement)
        return make(project_id, job_id, configuration, *rest, **options)

    return made


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()

# Its functions of geography load an extension that would have to be downloaded.
database.FUNCTIONS = [file for file in database.FUNCTIONS if file.stem != "geography"]
query._run = follow_transactions(query._run)
merge.run = merge_where_it_is(merge.run)
query.execute = name_created_table(query.execute)
runner._job = keep_parameters_once(runner._job)

sys.argv[0] = "local-bigquery"
sys.exit(cli.main())

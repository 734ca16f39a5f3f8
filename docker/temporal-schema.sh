#!/bin/sh
# Creates Temporal's two databases and brings their schemas to this image's version. Run again it changes nothing.
set -eu
for schema in temporal:temporal temporal_visibility:visibility; do
  tool="temporal-sql-tool --plugin postgres12 --ep $POSTGRES_SEEDS --port $DB_PORT --user $POSTGRES_USER --db ${schema%:*}"
  $tool create
  $tool setup-schema -v 0.0
  $tool update-schema -d "/etc/temporal/schema/postgresql/v12/${schema#*:}/versioned"
done

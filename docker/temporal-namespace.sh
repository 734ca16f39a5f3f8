#!/bin/sh
# Creates the namespace and the search attributes that Bascule's workflows carry. Run again it changes nothing but the
# retention, where TEMPORAL_RETENTION names one. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE say where.
set -eu
until temporal operator cluster health >/dev/null 2>&1; do sleep 1; done
if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  [ "${TEMPORAL_RETENTION:-}" = '' ] ||
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION"
else
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "${TEMPORAL_RETENTION:-30d}"
fi
# A namespace is known to the whole server some seconds after it was made.
until known=$(temporal operator search-attribute list 2>/dev/null); do sleep 1; done
for attribute in BasculeEnvironment BasculeKind BasculeSha BasculeOutcome; do
  case $known in
    *"$attribute"*) ;;
    *) temporal operator search-attribute create --name "$attribute" --type Keyword ;;
  esac
done

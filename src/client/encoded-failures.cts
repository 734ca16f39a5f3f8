// Messages and stack traces of failures as payloads, which are encrypted, instead of as plain text. The SDK loads this
// file by its path with `require`, and bundles it for the workflows.
import common = require('@temporalio/common');

export = { failureConverter: new common.DefaultFailureConverter({ encodeCommonAttributes: true }) };

/**
 * One request as a JSON object (configuration manual, 8.2.4 "Custom log format"). What a visitor can choose goes through
 * `json(utf8s)`; `ms` is the whole time from the request's first byte to the answer's last.
 */
const fields: readonly (readonly [string, string])[] = [
  ['time', '"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]"'],
  ['request', '"%ID"'],
  ['client', '"%[src]"'],
  ['method', '"%[method,json(utf8s)]"'],
  ['scheme', '"%[var(txn.scheme)]"'],
  ['host', '"%[var(txn.host),bytes(0,253),json(utf8s)]"'],
  ['path', '"%[capture.req.uri,json(utf8s)]"'],
  ['status', '%ST'],
  ['bytes', '%B'],
  ['ms', '%Ta'],
  ['waitMs', '%Tw'],
  ['connectMs', '%Tc'],
  ['responseMs', '%Tr'],
  ['retries', '"%rc"'],
  ['environment', '"%[var(txn.environment)]"'],
  ['pool', '"%b"'],
  ['server', '"%s"'],
  ['color', '"%[var(txn.color)]"'],
  ['termination', '"%tsc"'],
];

/** The argument of `log-format`, in single quotes: nothing within them is expanded. */
export const jsonLogFormat = `'{${fields.map(([name, value]) => `"${name}":${value}`).join(',')}}'`;

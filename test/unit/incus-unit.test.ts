import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { environmentFile, migrationUnit, serviceUnit } from '../../src/instances/unit.js';

const service = {
  project: 'veza',
  component: 'backend',
  user: 'veza-api',
  port: 8080,
  run: ['./backend-api', '--listen', '%h "$HOME" \\o/'],
};

const linesOf = (unit: string): readonly string[] => unit.split('\n');

test('a service runs its release as its user, again whenever it ends, and may write to its own folders alone', () => {
  const lines = linesOf(serviceUnit({ ...service, stopGraceMs: 30_000 }));
  expect(lines).toEqual(
    expect.arrayContaining([
      'Type=exec',
      'Restart=always',
      'TimeoutStopSec=30000ms',
      'User=veza-api',
      'WorkingDirectory=/opt/veza/backend/current',
      'EnvironmentFile=/etc/veza/backend.env',
      'LogsDirectory=veza',
      'ProtectSystem=strict',
      'PrivateTmp=yes',
      'NoNewPrivileges=yes',
      'CapabilityBoundingSet=',
      'AmbientCapabilities=',
      'WantedBy=multi-user.target',
    ]),
  );
});

test('words of a command mean themselves to systemd', () => {
  expect(linesOf(serviceUnit({ ...service, stopGraceMs: 1 }))).toContain(
    'ExecStart="/opt/veza/backend/current/backend-api" "--listen" "%%h \\"$$HOME\\" \\\\o/"',
  );
});

test.each([
  [['node', 'server.mjs'], 'ExecStart="node" "server.mjs"'],
  [['/usr/bin/env', 'a\nb'], 'ExecStart="/usr/bin/env" "a\\nb"'],
  [['bin/web'], 'ExecStart="/opt/veza/backend/current/bin/web"'],
])('%j is run as %s', (run, line) => {
  expect(linesOf(serviceUnit({ ...service, run, stopGraceMs: 1 }))).toContain(line);
});

test('a port below 1024 gives the one capability that it takes', () => {
  const lines = linesOf(serviceUnit({ ...service, port: 80, stopGraceMs: 1 }));
  expect(lines).toContain('CapabilityBoundingSet=CAP_NET_BIND_SERVICE');
  expect(lines).toContain('AmbientCapabilities=CAP_NET_BIND_SERVICE');
});

test('a migration runs once, as the service does, within its time', () => {
  const lines = linesOf(migrationUnit({ ...service, timeoutMs: 600_000 }));
  expect(lines).toEqual(expect.arrayContaining(['Type=oneshot', 'TimeoutStartSec=600000ms', 'User=veza-api']));
  expect(lines).toContain('ProtectSystem=strict');
  expect(lines.filter((line) => line.startsWith('Restart='))).toEqual([]);
});

test('a shell reads the variables as they are, as systemd does', () => {
  const variables = { PLAIN: 'word', HARD: 'a "b" \'c\' $d `e` \\f\n  g # h', EMPTY: '' };
  const folder = mkdtempSync(join(tmpdir(), 'bascule-env-'));
  try {
    const file = join(folder, 'service.env');
    writeFileSync(file, environmentFile(variables));
    const script = 'set -a; . "$1"; printf "%s\\0" "$PLAIN" "$HARD" "$EMPTY"';
    const { stdout } = spawnSync('sh', ['-c', script, 'read', file], { encoding: 'utf8' });
    expect(stdout.split('\0').slice(0, -1)).toEqual(Object.values(variables));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

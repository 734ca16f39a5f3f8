import { describe, expect, test } from 'vitest';
import { environmentDigest, programEnvironment, shellExports } from '../../src/instances/environment.js';
import { parseRecord } from '../../src/instances/record.js';

const place = { directory: '/srv/instances', name: 'demo-api-green' };
const boot = '3f8a1c62-0d5e-4b7a-9c11-2e6f70a1b2c3';

describe('a record', () => {
  test('says who owns the instance, what it holds and which process runs it', () => {
    const text = [
      'owner=demo/prod/deploy/7',
      'sha=aaaaaaa1',
      `sha256=${'ab'.repeat(32)}`,
      'wanted=running',
      'pid=4711',
      `start_time=${boot}/282771`,
      'started_at=2026-11-23T12:00:00.000Z',
      'restarts=2',
      'failed=no',
      'proven=yes',
      `environment_digest=${'cd'.repeat(32)}`,
      'log_begin=512',
      'color=green',
      '',
    ].join('\n');
    expect(parseRecord(place, text)).toEqual({
      owner: 'demo/prod/deploy/7',
      sha: 'aaaaaaa1',
      sha256: 'ab'.repeat(32),
      wanted: 'running',
      process: { pid: 4711, startTime: `${boot}/282771` },
      startedAt: '2026-11-23T12:00:00.000Z',
      restarts: 2,
      isFailed: false,
      isDrained: false,
      isProven: true,
      environmentDigest: 'cd'.repeat(32),
      logBegin: 512,
    });
  });

  test('that is not there is an instance that nobody ever had', () => {
    expect(parseRecord(place, '')).toMatchObject({
      owner: null,
      sha: null,
      process: null,
      wanted: 'stopped',
      restarts: 0,
    });
  });

  test.each([
    'owner=two words',
    'sha=main',
    'sha256=12',
    'pid=-1',
    'pid=1e3',
    'start_time=5',
    'wanted=maybe',
    'failed=1',
  ])('with %s is damaged', (line) => {
    expect(() => parseRecord(place, `${line}\n`)).toThrow(expect.objectContaining({ code: 'instance-record-damaged' }));
  });
});

describe('the environment of a program', () => {
  test("cannot be mistaken for another place's by the component's own variables", () => {
    const instance = {
      environment: 'prod',
      component: 'api',
      color: 'green',
      address: '127.77.0.3',
      port: 8081,
      directory: '/srv/shop/.bascule/instances',
      name: 'shop-prod-api-green',
    } as const;
    const env = { HOST: '0.0.0.0', BASCULE_COLOR: 'blue', BASCULE_DATA: '/', PATH: '/opt/bin', NAME: 'value' };
    expect(programEnvironment(instance, { sha: 'aaaaaaa1', env, data: '/srv/data' })).toMatchObject({
      HOST: '127.77.0.3',
      PORT: '8081',
      BASCULE_COLOR: 'green',
      BASCULE_DATA: '/srv/data',
      PATH: '/opt/bin',
      NAME: 'value',
      TMPDIR: '/srv/shop/.bascule/instances/shop-prod-api-green/tmp',
    });
  });

  test('has the same digest in any order, and another one when a value changes or moves', () => {
    const digest = environmentDigest({ A: '1', B: '2' });
    expect(environmentDigest({ B: '2', A: '1' })).toBe(digest);
    expect(environmentDigest({ A: '1', B: '3' })).not.toBe(digest);
    expect(environmentDigest({ A: '12', B: '' })).not.toBe(environmentDigest({ A: '1', B: '2' }));
  });

  test('is refused where a shell could read a name as something else', () => {
    expect(shellExports({ NAME: "it's" })).toBe("export NAME='it'\\''s'\n# end\n");
    for (const name of ['A B', 'A=B', '1A', 'A;reboot', '', 'A\n']) {
      expect(() => shellExports({ [name]: 'x' })).toThrow(RangeError);
    }
    expect(() => shellExports({ NAME: 'a\0b' })).toThrow(RangeError);
  });
});

import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EdgeChangeResult } from '../../src/domain/edge-change.js';
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import { edgeFiles } from '../../src/haproxy/edge.js';
import { readEdge } from '../../src/haproxy/read-edge.js';
import { colorFor, type EdgeLook, lookAt } from '../rig/edge-look.js';
import { type EdgeWithWorker, type EdgeWorkerRig, startEdgeWorkerRig } from '../rig/edge-worker.js';
import { isWhole } from '../rig/tier.js';

let rig: EdgeWorkerRig;
/** All tests use the same one: each leaves it serving. After a failed test there is a new one. */
let test: EdgeWithWorker | null = null;
let before: EdgeLook;
let release = 0;

beforeAll(async () => {
  rig = await startEdgeWorkerRig();
});

afterAll(async () => {
  await rig.stop();
});

beforeEach(async () => {
  test ??= await rig.newEdge();
  before = await lookAt(test.edge);
  expect(before).toMatchObject({ runsInstalled: true, leftovers: [], needsOperator: null });
});

afterEach(async (context) => {
  test?.hooks.clear();
  await test?.host.mend();
  if (context.task.result?.state !== 'fail') return;
  await test?.dispose();
  test = null;
});

function edge(): EdgeWithWorker {
  if (!test) throw new Error('no edge');
  return test;
}

const look = () => lookAt(edge().edge);
const active = (): Color => before.states.find(({ name }) => name === 'prod')?.color ?? 'blue';
const target = (): Color => otherColor(active());
const prodServers = (color: Color) => [`demo-api-${color}`, `demo-web-${color}`];
const files = () => edgeFiles(edge().edge);

/** Prod from the color that has the visitors to another release on the other one. */
async function switchProd(from: Color = active()): Promise<EdgeChangeResult> {
  release += 1;
  const sha = `d${release.toString().padStart(6, '0')}`;
  const to = otherColor(from);
  await edge().untilUp(prodServers(to));
  return edge().change({ kind: 'color', environment: 'prod', from, to, sha, history: 'push' });
}

const steps = [
  'readEdge',
  'renderConfig',
  'stageConfig',
  'installConfig',
  'reloadEdge',
  'verifyTraffic',
  'recordColor',
] as const;

/** All in make test-all, each end of what a step may have done in make test. */
const broken = steps
  .flatMap((step) => [[step, 'before'] as const, [step, 'after'] as const])
  .filter(
    ([step, when]) => isWhole || (when === 'after' && ['stageConfig', 'reloadEdge', 'recordColor'].includes(step)),
  );

describe('an edge change', () => {
  it('that succeeds gives every new visitor of its environment the other color, and nobody else', async () => {
    expect(await switchProd()).toMatchObject({ outcome: 'succeeded', changed: true });
    const after = await look();
    expect(after).toMatchObject({ runsInstalled: true, leftovers: [], needsOperator: null });
    expect(after.visitors).toEqual({
      ...before.visitors,
      'prod.localhost/': `prod ${target()}`,
      'prod.localhost/api/v1/things': `prod ${target()}`,
    });
    const [staging, prod] = before.states;
    const sha = after.states[1]?.sha;
    expect(after.states).toEqual([staging, { name: 'prod', color: target(), sha, standby: prod?.sha }]);
    expect(after.stateFiles['active-color-prod']).toBe(`${target()}\n`);
    expect(after.stateFiles['active-color-prod.history']).toMatch(
      new RegExp(`^\\S+ ${target()} ${sha}\\n\\S+ ${active()} ${prod?.sha}\\n`),
    );
  });

  it.each(broken)('whose %s fails %s its effect leaves everything as it was', async (activity, when) => {
    edge().hooks.break(when, activity);
    expect(await switchProd()).toMatchObject({ outcome: 'failed', code: 'broken', message: `${activity} is broken` });
    expect(await look()).toEqual(before);
    await expectNextToSucceed();
  });
});

/** Nothing is in the way of the next change. */
async function expectNextToSucceed(): Promise<void> {
  edge().hooks.clear();
  expect(await switchProd()).toMatchObject({ outcome: 'succeeded' });
  const after = await look();
  expect(colorFor(after, 'prod')).toBe(target());
  expect(after).toMatchObject({ runsInstalled: true, leftovers: [], needsOperator: null });
}

describe('on a host where', () => {
  it('the disk is full for a moment, the change is tried again and succeeds', async () => {
    const count = `${files().config}.count`;
    await edge().host.replace(
      'mv',
      `case "$*" in *"${files().staged} "*) echo >>"${count}"; [ "$(wc -l <"${count}")" -gt 2 ] || { echo "No space left on device" >&2; exit 1; };; esac\nexec "$real" "$@"`,
    );
    expect(await switchProd()).toMatchObject({ outcome: 'succeeded' });
    expect((await readFile(count, 'utf8')).length).toBe(3);
    expect(colorFor(await look(), 'prod')).toBe(target());
    await rm(count);
  });

  if (isWhole)
    it('the rename of the candidate fails for good, everything stays as it was', async () => {
      await edge().host.replace(
        'mv',
        `case "$*" in *"${files().staged} "*) echo "Read-only file system" >&2; exit 1;; esac\nexec "$real" "$@"`,
      );
      const result = await switchProd();
      expect(result).toMatchObject({ outcome: 'failed', code: 'edge-write-failed' });
      expect(result.message).toContain('Read-only file system');
      expect(await look()).toEqual(before);
    });

  it('somebody removes the candidate, everything stays as it was', async () => {
    edge().hooks.set('before', 'installConfig', () => rm(files().staged, { force: true }));
    expect(await switchProd()).toMatchObject({ outcome: 'failed', code: 'edge-file-missing' });
    expect(await look()).toEqual(before);
  });

  if (isWhole)
    it('the new color hangs or is gone once its checks have passed, the old one has the visitors again', async () => {
      const [api = '', web = ''] = prodServers(target());
      const hung = await edge().startAsProcess(web);
      edge().hooks.set('after', 'readEdge', async () => {
        await edge().stopInstance(api);
        hung.hang();
      });
      const result = await switchProd();
      expect(result).toMatchObject({ outcome: 'failed', code: 'traffic-not-verified' });
      expect(result.message).toMatch(new RegExp(`prod/api on \\S+ answered 200 from \\S+-${active()}, not ${api}`));
      expect(result.message).toMatch(new RegExp(`prod/web on \\S+ answered .*, not ${web}`));
      expect(await look()).toEqual(before);

      await hung.kill();
      for (const name of [api, web]) await edge().startInstance(name);
      await expectNextToSucceed();
    });

  it('the history can not be written, visitors have the old color again', async () => {
    const link = files().history('prod');
    const own = await readFile(link, 'utf8');
    edge().hooks.set('before', 'recordColor', async () => {
      await rm(link);
      await symlink('/dev/null', link);
    });
    edge().hooks.set('before', 'restoreColors', async () => {
      await rm(link);
      await writeFile(link, own);
    });
    const result = await switchProd();
    expect(result).toMatchObject({ outcome: 'failed', code: 'state-file-is-link' });
    expect(await look()).toEqual(before);
  });
});

describe('a change whose take-back fails', () => {
  /** The take-back that fails, the step that failed before it, and which color visitors have then. */
  const cases = [
    ['unstageConfig', 'stageConfig', 'old'],
    ['restoreConfig', 'installConfig', 'old'],
    ['reloadRestored', 'installConfig', 'old'],
    ['restoreConfig', 'reloadEdge', 'new'],
    ['reloadRestored', 'reloadEdge', 'new'],
    ['restoreConfig', 'verifyTraffic', 'new'],
    ['restoreColors', 'recordColor', 'old'],
    ['restoreConfig', 'recordColor', 'new'],
    ['reloadRestored', 'recordColor', 'new'],
  ] as const;
  /** In make test one where visitors keep the old color, and one where they have the new one. */
  const tried = cases.filter(
    ([undo, step]) =>
      isWhole || ['unstageConfig stageConfig', 'restoreConfig verifyTraffic'].includes(`${undo} ${step}`),
  );

  it.each(tried)(
    '(%s after %s) leaves visitors with the %s color, refuses changes, and is mended by a repair',
    async (takeBack, fails, serves) => {
      edge().hooks.break('after', fails);
      edge().hooks.break('before', takeBack);
      await expectToNeedAnOperator(await switchProd());
      await expectRefusedUntilRepaired(serves === 'old' ? active() : target());
    },
  );

  it('because the earlier file is gone says so, and a repair keeps what visitors have', async () => {
    edge().hooks.set('after', 'reloadEdge', async () => {
      const { installed } = await readEdge(edge().edge, { probe: false, version: '1.0.0' });
      await rm(files().kept((installed?.generation ?? 0) - 1));
    });
    edge().hooks.break('before', 'verifyTraffic');
    const result = await switchProd();
    await expectToNeedAnOperator(result);
    expect(result.message).toContain('haproxy.cfg.');
    await expectRefusedUntilRepaired(target());
  });

  if (isWhole)
    it('because a link took the place of the history says so, and is mended once that is gone', async () => {
      const link = files().history('prod');
      edge().hooks.set('before', 'recordColor', async () => {
        await rm(link);
        await symlink('/dev/null', link);
      });
      await expectToNeedAnOperator(await switchProd());
      expect(await edge().change({ kind: 'apply', repair: true })).toMatchObject({ code: 'state-file-is-link' });
      await rm(link);
      await expectRefusedUntilRepaired(active());
    });
});

async function expectToNeedAnOperator(result: EdgeChangeResult): Promise<void> {
  expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
  expect(result.message).toContain('it could not be taken back');
  const mark = await readFile(files().needsOperator, 'utf8');
  expect(mark).toContain(result.message);
  expect(mark).toContain('bascule apply --repair');
}

/** @param color what visitors of prod have, and keep */
async function expectRefusedUntilRepaired(color: Color): Promise<void> {
  edge().hooks.clear();
  const marked = await look();
  expect(colorFor(marked, 'prod')).toBe(color);
  expect(colorFor(marked, 'staging')).toBe(colorFor(before, 'staging'));

  for (const refused of [
    await switchProd(color),
    await edge().change({ kind: 'apply' }),
    await edge().change({ kind: 'stand-down', environment: 'staging' }),
  ]) {
    expect(refused).toMatchObject({ outcome: 'failed', code: 'edge-needs-operator' });
  }
  expect(await look()).toEqual(marked);

  expect(await edge().change({ kind: 'apply', repair: true })).toMatchObject({ outcome: 'succeeded' });
  const repaired = await look();
  expect(repaired).toMatchObject({
    runsInstalled: true,
    leftovers: [],
    needsOperator: null,
    visitors: marked.visitors,
  });
  const prod = repaired.states.find(({ name }) => name === 'prod');
  expect(prod?.color).toBe(color);
  expect(repaired.stateFiles['active-color-prod']).toBe(`${color}\n`);
  expect(repaired.stateFiles['active-color-prod.history']?.split('\n')[0]).toMatch(
    new RegExp(` ${color} ${prod?.sha}$`),
  );
  const { drift } = await readEdge(edge().edge, { probe: false, version: '1.0.0' });
  expect(drift).toEqual([]);
  expect(await switchProd(color)).toMatchObject({ outcome: 'succeeded' });
}

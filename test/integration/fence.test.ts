import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Claim } from '../../src/domain/edge-change.js';
import { claimArguments, type Edge, edgeFiles, runAct } from '../../src/haproxy/edge.js';
import { claimEdge, claimTakeBack } from '../../src/haproxy/fence.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { formatApplied } from '../../src/haproxy/installed.js';
import { clearNeedsOperator, markNeedsOperator } from '../../src/haproxy/operator-mark.js';
import { readEdge } from '../../src/haproxy/read-edge.js';
import { recordColors, restoreColors } from '../../src/haproxy/record.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import type { RunOptions, RunResult } from '../../src/hosts/host.js';
import {
  applyChange,
  createTestEdge,
  isShareable,
  keepFiles,
  type Planned,
  planned,
  switchChange,
  type TestEdge,
  version,
} from '../rig/edge.js';
import { FaultyHost } from '../rig/faulty-host.js';
import { ChangedHost, testPlace } from '../rig/test-host.js';
import { isWhole } from '../rig/tier.js';

const tests: TestEdge[] = [];
const hosts: FaultyHost[] = [];

async function newEdge(): Promise<TestEdge> {
  const test = await createTestEdge();
  tests.push(test);
  return test;
}

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.mend()));
  await Promise.all(tests.splice(0).map((test) => test.dispose()));
});

/** Installs a change without loading it: the fence is about files. */
async function install(test: TestEdge, step: Planned): Promise<Claim> {
  const claim = await stageConfiguration(test.edge, step);
  await installConfiguration(test.edge, { claim, ...step });
  return claim;
}

interface AppliedEdge extends TestEdge {
  /** A switch of prod, planned on it. */
  readonly step: Planned;
  readonly first: Claim;
}

/** The files of one applied edge serve all tests. */
let shared: (AppliedEdge & { restore(): Promise<void> }) | null = null;
afterAll(async () => await shared?.dispose());

async function newAppliedEdge(): Promise<AppliedEdge> {
  const test = await createTestEdge();
  const first = await install(test, await planned(test, 'run-1', applyChange));
  return { ...test, first, step: await planned(test, 'run-2', switchChange('blue', 'green')) };
}

/** An edge with the first configuration installed, and a switch of prod planned on it. */
async function appliedEdge({ host }: { host?: FaultyHost } = {}): Promise<AppliedEdge> {
  if (host) hosts.push(host);
  if (!isShareable()) {
    const test = await newAppliedEdge();
    tests.push(test);
    return host ? { ...test, edge: { ...test.edge, host } } : test;
  }
  if (!shared) {
    const test = await newAppliedEdge();
    const { restore, remove } = await keepFiles(test);
    shared = { ...test, restore, dispose: async () => void (await Promise.all([remove(), test.dispose()])) };
  }
  await shared.restore();
  return host ? { ...shared, edge: { ...shared.edge, host } } : shared;
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing thrown',
    (error: { code?: string }) => error.code ?? String(error),
  );

/** Content without the probe's random, which is drawn anew for each installed file. */
const digestLine = (text: string | undefined): string | undefined => text?.split('\n')[0];

describe('a claim', () => {
  it('is given only to who passes the claim that readEdge recorded, and its number grows by one', async () => {
    const { edge, step } = await appliedEdge();
    expect(step.record.claim).toBe('1 run-1/do');
    expect(await claimEdge(edge, step)).toEqual({ number: 2, owner: 'run-2/do' });
    expect(await readFile(edgeFiles(edge).generation, 'utf8')).toBe('2 run-2/do\n');
    expect(await codeOf(claimEdge(edge, { record: step.record, owner: 'run-3/do' }))).toBe('edge-claimed');
    expect(await readFile(edgeFiles(edge).generation, 'utf8')).toBe('2 run-2/do\n');
  });

  it('is the same number again for the same owner', async () => {
    const { edge, step } = await appliedEdge();
    await claimEdge(edge, step);
    expect(await claimEdge(edge, step)).toEqual({ number: 2, owner: 'run-2/do' });
  });

  it('goes to one of two who ask at the same time', async () => {
    const { edge, step } = await appliedEdge();
    const owners = ['run-a/do', 'run-b/do', 'run-c/do', 'run-d/do'];
    const codes = await Promise.all(owners.map((owner) => codeOf(claimEdge(edge, { record: step.record, owner }))));
    expect(codes.sort()).toEqual(['edge-claimed', 'edge-claimed', 'edge-claimed', 'nothing thrown']);
    expect(await readFile(edgeFiles(edge).generation, 'utf8')).toMatch(/^2 run-[abcd]\/do\n$/);
  });

  it('never has a number that an installed file has had, also where the file with the claim was lost', async () => {
    const { edge, step, ...test } = await appliedEdge();
    await install({ edge, ...test }, step);
    await rm(edgeFiles(edge).generation);
    const record = await readEdge(edge, { probe: false, version });
    expect(record.claim).toBeNull();
    expect(await claimEdge(edge, { record, owner: 'run-3/do' })).toEqual({ number: 3, owner: 'run-3/do' });
  });
});

describe('the claim of a take-back', () => {
  it('takes a higher number over the claim of the change that it undoes, and has it again when it asks again', async () => {
    const { edge, step } = await appliedEdge();
    await claimEdge(edge, step);
    expect(await claimTakeBack(edge, step.takeBack)).toEqual({ number: 3, owner: 'run-2/undo' });
    expect(await claimTakeBack(edge, step.takeBack)).toEqual({ number: 3, owner: 'run-2/undo' });
  });

  it('keeps out a change that never claimed but wakes later', async () => {
    const { edge, step, files } = await appliedEdge();
    await claimTakeBack(edge, step.takeBack);
    const before = await files();
    expect(await codeOf(stageConfiguration(edge, step))).toBe('edge-claimed');
    expect(await files()).toEqual(before);
  });

  it('is refused over the claim of another change, and touches nothing', async () => {
    const { edge, step, files } = await appliedEdge();
    await claimEdge(edge, { record: step.record, owner: 'run-3/do' });
    const before = await files();
    for (const takeBack of [unstageConfiguration, restoreConfiguration, restoreColors, claimTakeBack]) {
      expect(await codeOf(takeBack(edge, step.takeBack))).toBe('edge-claimed');
    }
    expect(await files()).toEqual(before);
  });
});

describe('an act whose claim is not in force', () => {
  const bystander = spawn('sleep', ['600'], { stdio: 'ignore' });
  afterAll(() => bystander.kill());
  const acts: [string, (edge: Edge, claim: Claim, step: Planned) => Promise<unknown>][] = [
    ['stage', (edge, claim) => runAct(edge, act('stage', claim, ['0'], '# text'))],
    ['stage-applied', (edge, claim) => runAct(edge, act('stage-applied', claim, ['0'], '{}'))],
    ['keep-addresses', (edge, claim) => runAct(edge, act('keep-addresses', claim, ['0', edgeFiles(edge).log], '{}'))],
    ['unstage', (edge, claim) => runAct(edge, act('unstage', claim))],
    ['install', (edge, claim, step) => installConfiguration(edge, { claim, ...step })],
    ['restore', (edge, claim) => runAct(edge, act('restore', claim, ['none', '1', 'none']))],
    ['reload', (edge, claim) => runAct(edge, act('reload', claim, [String(bystander.pid), 'none', 'none', 'none']))],
    ['record', (edge, claim, step) => recordColors(edge, { claim, ...step })],
    ['clear-needs-operator', (edge, claim) => clearNeedsOperator(edge, claim)],
  ];
  const act = (name: string, claim: Claim, args: string[] = [], input = '') => ({
    name,
    args: [...claimArguments(claim), ...args],
    owner: claim.owner,
    input,
  });

  it('is refused, and touches nothing', async () => {
    const { edge, step, files } = await appliedEdge();
    await markNeedsOperator(edge, { text: 'look here', takeBack: step.takeBack });
    const claim = await stageConfiguration(edge, step);
    await claimTakeBack(edge, step.takeBack);
    const before = await files();
    expect(Object.keys(before)).toContain('haproxy.cfg.staged');
    for (const [name, run] of acts) {
      expect(await codeOf(run(edge, claim, step)), name).toBe('edge-claimed');
      // The right number under another's name is no claim either.
      expect(await codeOf(run(edge, { number: 3, owner: 'run-9/do' }, step)), name).toBe('edge-claimed');
      expect(await files(), name).toEqual(before);
      expect(bystander.signalCode, name).toBeNull();
    }
  });
});

describe('an apply', () => {
  it('that comes late leaves the addresses that a newer one gave out', async () => {
    const test = await appliedEdge();
    const gives = (address: string) => {
      const addresses = { ...test.applied.addresses, 'demo-prod-web-blue': { address, port: 8082 } };
      return planned(test, `run-${address}`, applyChange, { ...test.applied, addresses });
    };
    const given = async () =>
      JSON.parse(await readFile(join(test.folder, 'addresses.json'), 'utf8'))['demo-prod-web-blue'].address;
    const late = await gives('127.0.0.98');
    await install(test, await gives('127.0.0.99'));
    expect(await given()).toBe('127.0.0.99');
    expect(await codeOf(stageConfiguration(test.edge, late))).toBe('edge-claimed');
    expect(await given()).toBe('127.0.0.99');
  });
});

describe('the mark that an operator has to look', () => {
  it('is not made again by who wakes after the repair', async () => {
    const test = await appliedEdge();
    const { edge, step, files } = test;
    await stageConfiguration(edge, step);
    const mark = () => markNeedsOperator(edge, { text: 'look here', takeBack: step.takeBack });
    await mark();
    const repair = await install(test, await planned(test, 'run-3', { ...applyChange, repair: true }));
    await clearNeedsOperator(edge, repair);
    const before = await files();
    expect(await codeOf(mark())).toBe('edge-claimed');
    expect(await files()).toEqual(before);
  });
});

describe('an act that was done already', () => {
  it('does nothing: each step twice is once', async () => {
    const test = await appliedEdge();
    const { edge, step, files } = test;
    const twice = async (run: () => Promise<unknown>) => {
      await run();
      const once = await files();
      await run();
      expect(await files()).toEqual(once);
    };
    const claim = await stageConfiguration(edge, step);
    await twice(() => installConfiguration(edge, { claim, ...step }));
    await twice(() => stageConfiguration(edge, step));
    await twice(() => recordColors(edge, { claim, ...step }));
    await twice(() => markNeedsOperator(edge, { text: 'look here', takeBack: step.takeBack }));
    await twice(() => clearNeedsOperator(edge, claim));
    await twice(() => restoreColors(edge, step.takeBack));
    await twice(() => restoreConfiguration(edge, step.takeBack));
    await twice(() => unstageConfiguration(edge, step.takeBack));
  });

  it('staged twice is staged once, with its own number', async () => {
    const { edge, step, files } = await appliedEdge();
    await stageConfiguration(edge, step);
    const once = await files();
    await stageConfiguration(edge, step);
    const again = await files();
    expect(Object.keys(again)).toEqual(Object.keys(once));
    expect(digestLine(again['haproxy.cfg.staged'])).toBe(digestLine(once['haproxy.cfg.staged']));
  });
});

describe('the files after each act', () => {
  it('are those of design.md', async () => {
    const test = await newEdge();
    const { edge, files } = test;
    const names = async () => Object.keys(await files()).filter((name) => name !== 'haproxy.cfg.lock');
    const apply = await planned(test, 'run-1', applyChange);
    const claim = await stageConfiguration(edge, apply);
    expect(await names()).toEqual(['haproxy.cfg.staged', 'state/applied.json.staged', 'state/generation']);
    await installConfiguration(edge, { claim, ...apply });
    expect(await names()).toEqual(['haproxy.cfg', 'state/applied.json', 'state/generation']);
    await recordColors(edge, { claim, ...apply });
    expect(await names()).toEqual(['haproxy.cfg', 'state/applied.json', 'state/generation']);

    const step = await planned(test, 'run-2', switchChange('blue', 'green'));
    const second = await install(test, step);
    await recordColors(edge, { claim: second, ...step });
    const all = await files();
    expect(await names()).toEqual([
      'haproxy.cfg',
      'haproxy.cfg.1',
      'state/active-color-prod',
      'state/active-color-prod.history',
      'state/applied.json',
      'state/generation',
    ]);
    expect(all['state/active-color-prod']).toBe('green\n');
    expect(all['state/active-color-prod.history']).toBe('2026-01-01T00:00:00Z green aaaaaaa\n');
    expect(digestLine(all['haproxy.cfg'])).toContain(`project=demo generation=2 digest=${step.plan.digest}`);
    expect(digestLine(all['haproxy.cfg.1'])).toContain(`project=demo generation=1 digest=${apply.plan.digest}`);

    await restoreColors(edge, step.takeBack);
    const { target } = await restoreConfiguration(edge, step.takeBack);
    expect(target).toEqual({ generation: 3, digest: apply.plan.digest });
    const restored = await files();
    expect(restored['state/active-color-prod']).toBeUndefined();
    expect(restored['state/active-color-prod.history']).toBeUndefined();
    expect(digestLine(restored['haproxy.cfg'])).toContain(`generation=3 digest=${apply.plan.digest}`);
    expect(restored['state/generation']).toBe('3 run-2/undo\n');
    expect(restored['state/applied.json']).toBe(all['state/applied.json']);
  });

  it('hold the last five installed configurations', async () => {
    const test = await appliedEdge();
    let active: 'blue' | 'green' = 'blue';
    for (const run of ['2', '3', '4', '5', '6', '7']) {
      const to: 'blue' | 'green' = active === 'blue' ? 'green' : 'blue';
      const step = await planned(test, `run-${run}`, { ...switchChange(active, to, `aaaaaa${run}`), repair: true });
      await install(test, step);
      active = to;
    }
    const kept = Object.keys(await test.files()).filter((name) => /^haproxy\.cfg\.\d+$/.test(name));
    expect(kept).toEqual(['2', '3', '4', '5', '6'].map((number) => `haproxy.cfg.${number}`));
  });

  it('leave alone what others keep beside them, and so can always be given back', async () => {
    const { edge, step, files, ...test } = await appliedEdge();
    const { config } = edgeFiles(edge);
    const others = ['1', '20240101', '20240102', '20240103', '20240104', '20240105', '99999999999999999999'];
    for (const name of others.slice(1)) await writeFile(`${config}.${name}`, '# a backup\n');
    await install({ edge, files, ...test }, step);
    const { target } = await restoreConfiguration(edge, step.takeBack);
    expect(target).toEqual({ generation: 3, digest: step.record.installed?.digest });
    const kept = Object.keys(await files()).filter((name) => /^haproxy\.cfg\.\d+$/.test(name));
    expect(kept).toEqual(expect.arrayContaining(others.map((name) => `haproxy.cfg.${name}`)));
  });

  it('are as before the first apply once that is taken back', async () => {
    const test = await newEdge();
    const apply = await planned(test, 'run-1', applyChange);
    await install(test, apply);
    expect((await restoreConfiguration(test.edge, apply.takeBack)).target).toBeNull();
    const left = Object.keys(await test.files());
    expect(left).toEqual(['haproxy.cfg.1', 'haproxy.cfg.lock', 'state/generation']);
  });

  it('give back a haproxy.cfg that somebody else wrote', async () => {
    const test = await newEdge();
    await mkdir(join(test.folder, 'edge'));
    await writeFile(edgeFiles(test.edge).config, '# my own\n');
    const apply = await planned(test, 'run-1', applyChange);
    expect(apply.record.drift.map(({ kind }) => kind)).toEqual(['header']);
    await install(test, apply);
    await restoreConfiguration(test.edge, apply.takeBack);
    expect((await test.files())['haproxy.cfg']).toBe('# my own\n');
  });
});

describe('a take-back', () => {
  it('restores what readEdge recorded, whatever was tried in between', async () => {
    const { edge, step, files, ...test } = await appliedEdge();
    const before = await files();
    await install({ edge, files, ...test }, step);
    await installConfiguration(edge, { claim: { number: 2, owner: 'run-2/do' }, ...step });
    await restoreConfiguration(edge, step.takeBack);
    const { target } = await restoreConfiguration(edge, step.takeBack);
    expect(target).toEqual({ generation: 3, digest: step.record.installed?.digest });
    const body = (text: string | undefined) =>
      text?.split('\n').filter((line) => !/^# bascule|setenv BASCULE/.test(line));
    expect(body((await files())['haproxy.cfg'])).toEqual(body(before['haproxy.cfg']));
  });

  it('that finds nothing installed only removes the candidate', async () => {
    const { edge, step, files } = await appliedEdge();
    const before = await files();
    await stageConfiguration(edge, step);
    const { target } = await restoreConfiguration(edge, step.takeBack);
    expect(target).toEqual({ generation: 1, digest: step.record.installed?.digest });
    expect(await files()).toEqual({ ...before, 'state/generation': '3 run-2/undo\n' });
  });

  it('gives back the configuration that was applied before', async () => {
    const test = await appliedEdge();
    const wanted = structuredClone(test.applied) as unknown as {
      configuration: { environments: { hosts: string[] }[] };
    };
    wanted.configuration.environments[0]?.hosts.push('other.localhost');
    const before = await test.files();
    const apply = await planned(test, 'run-2', { ...applyChange, repair: true }, wanted as never);
    await install(test, apply);
    expect((await test.files())['state/applied.json']).not.toBe(before['state/applied.json']);
    await restoreConfiguration(test.edge, apply.takeBack);
    expect((await test.files())['state/applied.json']).toBe(before['state/applied.json']);
  });

  it('is refused where the kept file is not what was recorded', async () => {
    const { edge, step, ...test } = await appliedEdge();
    await install({ edge, ...test }, step);
    const kept = edgeFiles(edge).kept(1);
    await writeFile(kept, (await readFile(kept, 'utf8')).replace('mode http', 'mode tcp'));
    expect(await codeOf(restoreConfiguration(edge, step.takeBack))).toBe('edge-file-changed');
    await rename(kept, `${kept}.away`);
    expect(await codeOf(restoreConfiguration(edge, step.takeBack))).toBe('edge-file-missing');
  });
});

describe('an install that was given up on', () => {
  it('and wakes after its take-back changes nothing', async () => {
    const { edge, step, files } = await appliedEdge();
    const claim = await stageConfiguration(edge, step);
    const lock = await holdLock(edge);
    const late = codeOf(installConfiguration(edge, { claim, ...step }));
    const waiting = await waitFor(() => findWaiters(edge));
    for (const pid of waiting) await signal('STOP', pid);
    // A process takes the signal a moment later: one that still waits would be given the lock.
    for (const pid of waiting) await waitFor(async () => ((await isStopped(pid)) ? true : null));
    lock.kill();
    await restoreConfiguration(edge, step.takeBack);
    const before = await files();
    for (const pid of waiting) await signal('CONT', pid);
    expect(await late).toBe('edge-claimed');
    expect(await files()).toEqual(before);
  });

  it('while it held the lock ends first, and then is taken back', async () => {
    const host = new FaultyHost();
    const { edge, step, files } = await appliedEdge({ host });
    const claim = await stageConfiguration(edge, step);
    await host.breakCall(3, 'stopped before');
    const late = installConfiguration(edge, { claim, ...step });
    const stopped = await waitFor(() => host.stoppedProcess());
    await host.mend();
    const takeBack = restoreConfiguration(edge, step.takeBack);
    await waitFor(() => findWaiters(edge));
    await signal('CONT', stopped);
    await late;
    expect((await takeBack).target).toEqual({ generation: 3, digest: step.record.installed?.digest });
    expect(digestLine((await files())['haproxy.cfg'])).toContain('generation=3');
  });
});

describe('a disk that takes no new file', () => {
  it('keeps a change from claiming, and no take-back: what wakes late is refused', async () => {
    const host = new FaultyHost();
    const { edge, step, files } = await appliedEdge({ host });
    const before = await files();
    await host.breakCall(1, 'program fails');
    expect(await codeOf(stageConfiguration(edge, step))).toBe('edge-write-failed');
    expect(await files()).toEqual(before);
    await host.mend();
    const claim = await stageConfiguration(edge, step);
    await host.breakCall(1, 'program fails');
    expect(await unstageConfiguration(edge, step.takeBack)).toEqual({ number: 3, owner: 'run-2/undo' });
    await host.mend();
    expect(await files()).toEqual({ ...before, 'state/generation': '3 run-2/undo\n' });
    expect(await codeOf(installConfiguration(edge, { claim, ...step }))).toBe('edge-claimed');
  });
});

describe('an act that dies', () => {
  /** Of the programs that the act runs: all, or each a part of them. */
  const every = isWhole ? 1 : 5;
  it.each([
    ['killed before', 1],
    ['killed after', isWhole ? 1 : 3],
    ['program fails', isWhole ? 1 : 5],
  ] as const)(
    'leaves every file whole, the earlier or the new one, and can be tried again (%s)',
    async (fault, from) => {
      const host = new FaultyHost();
      const { edge, step, applied, files, ...test } = await appliedEdge({ host });
      const wanted = structuredClone(applied) as unknown as { configuration: { environments: { hosts: string[] }[] } };
      wanted.configuration.environments[0]?.hosts.push('other.localhost');
      const change = { ...applyChange, repair: true };
      const apply = await planned({ edge, applied, files, ...test }, 'run-2', change, wanted as never);
      const before = await files();
      const claim = await stageConfiguration(edge, apply);
      const candidates = await files();
      for (let call: number = from; call < 100; call += every) {
        await host.breakCall(call, fault);
        const code = await codeOf(installConfiguration(edge, { claim, ...apply }));
        await host.mend();
        const now = await files();
        expect([before['haproxy.cfg'], candidates['haproxy.cfg.staged']]).toContain(now['haproxy.cfg']);
        expect([before['state/applied.json'], candidates['state/applied.json.staged']]).toContain(
          now['state/applied.json'],
        );
        expect([undefined, before['haproxy.cfg']]).toContain(now['haproxy.cfg.1']);
        await installConfiguration(edge, { claim, ...apply });
        const done = await files();
        expect(done['haproxy.cfg']).toBe(candidates['haproxy.cfg.staged']);
        expect(done['haproxy.cfg.1']).toBe(before['haproxy.cfg']);
        expect(done['state/applied.json']).toBe(candidates['state/applied.json.staged']);
        expect(done['state/applied.json.1']).toBe(before['state/applied.json']);
        if (code === 'nothing thrown') {
          expect(call).toBeGreaterThan(10);
          return;
        }
        expect(code).toBe(fault === 'program fails' ? 'edge-write-failed' : 'command-ended');
        await putBack(edge, { before, candidates });
      }
    },
  );

  it('and whose sender died leaves nothing half written', async () => {
    const { edge, step, files } = await appliedEdge();
    const claim = await claimEdge(edge, step);
    const before = await files();
    const args = [...claimArguments(claim), '0'.repeat(64), 'none'];
    const stage = runAct(edge, { name: 'stage', args, owner: claim.owner, input: 'global\n    maxconn 1' });
    expect(await codeOf(stage)).toBe('edge-file-changed');
    expect(await files()).toEqual(before);
  });
});

/** Nobody may write there. Needs root, to be somebody else. */
class UnprivilegedHost extends ChangedHost {
  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    return await super.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...argv], options);
  }
}

describe('a host', () => {
  it('on which the state folder is deleted in the middle of a change says so, and nothing is installed', async () => {
    const { edge, step, files, folder } = await appliedEdge();
    const claim = await stageConfiguration(edge, step);
    const before = (await files())['haproxy.cfg'];
    await rm(edge.configuration.files.state, { recursive: true });
    for (const act of [
      () => installConfiguration(edge, { claim, ...step }),
      () => recordColors(edge, { claim, ...step }),
      () => restoreConfiguration(edge, step.takeBack),
    ]) {
      await expect(act()).rejects.toMatchObject({
        code: 'edge-claimed',
        message: expect.stringContaining(`${folder}/edge/state/generation on ${edge.host.name} was deleted meanwhile`),
        remedy: expect.stringContaining('`bascule apply --repair`'),
      });
    }
    expect((await files())['haproxy.cfg']).toBe(before);
    await markNeedsOperator(edge, { text: 'look here', takeBack: step.takeBack });
    expect((await files())['state/needs-operator']).toBe('look here\n');
  });

  it('on which the worker may not write says so, and nothing is touched', async () => {
    const { edge: own, step, files, folder } = await appliedEdge();
    for (const place of [folder, dirname(own.configuration.files.config), own.configuration.files.state]) {
      await chmod(place, 0o755);
    }
    const edge = { ...own, host: new UnprivilegedHost() };
    const claim = await claimEdge(own, step);
    const before = await files();
    for (const act of [
      () => claimEdge(edge, step),
      () => stageConfiguration(edge, step),
      () => installConfiguration(edge, { claim, ...step }),
      () => recordColors(edge, { claim, ...step }),
      () => restoreConfiguration(edge, step.takeBack),
      () => markNeedsOperator(edge, { text: 'look here', takeBack: step.takeBack }),
    ]) {
      await expect(act()).rejects.toMatchObject({
        code: 'edge-write-failed',
        message: expect.stringMatching(/haproxy\.cfg\.lock on .*Permission denied/),
        remedy: expect.stringContaining(`\`ls -ld ${dirname(own.configuration.files.config)}\``),
      });
    }
    expect(await files()).toEqual(before);
  });

  it('whose disk takes long for each write is changed all the same', async () => {
    const host = new FaultyHost();
    const { step, ...test } = await appliedEdge({ host });
    await host.replace('sync', `sleep ${isWhole ? 2 : 0.2}; exec "$real" "$@"`);
    const claim = await install(test, step);
    await recordColors(test.edge, { claim, ...step });
    expect((await readEdge(test.edge, { probe: false, version })).states[1]).toMatchObject({ color: 'green' });
  });
});

describe('an edge that is not ours to write', () => {
  it.each(['generation', 'config', 'applied', 'needsOperator'] as const)(
    'is refused where its %s is a symbolic link',
    async (name) => {
      const { edge, step, files, folder } = await appliedEdge();
      const file = edgeFiles(edge)[name];
      const target = join(folder, 'elsewhere');
      await writeFile(target, await readFile(file, 'utf8').catch(() => 'mine'));
      await rm(file, { force: true });
      await symlink(target, file);
      const before = [await files(), await readFile(target, 'utf8')];
      expect(await codeOf(readEdge(edge, { probe: false, version }))).toBe('state-file-is-link');
      expect(await codeOf(claimEdge(edge, step))).toBe('state-file-is-link');
      expect(await codeOf(markNeedsOperator(edge, { text: 'text', takeBack: step.takeBack }))).toBe(
        'state-file-is-link',
      );
      expect([await files(), await readFile(target, 'utf8')]).toEqual(before);
    },
  );

  it('is refused where its state folder is that of another project', async () => {
    const { edge, applied, files } = await newEdge();
    await mkdir(edge.configuration.files.state, { recursive: true });
    const other = { ...applied, configuration: { ...applied.configuration, project: 'other' } };
    await writeFile(edgeFiles(edge).applied, formatApplied(other));
    const before = await files();
    await expect(readEdge(edge, { probe: false, version, wantedApplied: applied })).rejects.toMatchObject({
      code: 'edge-of-other-project',
      message: expect.stringContaining(`${edgeFiles(edge).applied} on ${edge.host.name} belongs to project other`),
      remedy: expect.stringContaining('other `edge.files`'),
    });
    expect(await files()).toEqual(before);
  });

  it('is refused where a color file is a symbolic link', async () => {
    const { edge, step, folder, ...test } = await appliedEdge();
    const claim = await install({ edge, folder, ...test }, step);
    const target = join(folder, 'elsewhere');
    await writeFile(target, 'mine');
    await symlink(target, edgeFiles(edge).color('prod'));
    expect(await codeOf(recordColors(edge, { claim, ...step }))).toBe('state-file-is-link');
    expect(await readFile(target, 'utf8')).toBe('mine');
  });

  it('is refused to a second project', async () => {
    const { edge, step, files } = await appliedEdge();
    const second: Edge = { ...edge, project: 'other' };
    const before = await files();
    expect(await codeOf(readEdge(second, { probe: false, version }))).toBe('edge-of-other-project');
    expect(await codeOf(claimEdge(second, step))).toBe('edge-of-other-project');
    expect(await files()).toEqual(before);
  });
});

async function putBack(edge: Edge, all: { before: Record<string, string>; candidates: Record<string, string> }) {
  const files = edgeFiles(edge);
  await writeFile(files.config, all.before['haproxy.cfg'] ?? '');
  await writeFile(files.staged, all.candidates['haproxy.cfg.staged'] ?? '');
  await writeFile(files.applied, all.before['state/applied.json'] ?? '');
  await writeFile(`${files.applied}.staged`, all.candidates['state/applied.json.staged'] ?? '');
  await rm(files.kept(1), { force: true });
  await rm(`${files.applied}.1`, { force: true });
}

/** Takes the lock of the edge as another act would, until it is killed. */
async function holdLock(edge: Edge): Promise<ChildProcess> {
  const holder = spawn('flock', ['-F', `${edgeFiles(edge).config}.lock`, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout?.once('data', resolve));
  return holder;
}

/** The act that waits for the lock: its shell and the flock that it runs. */
async function findWaiters(edge: Edge): Promise<number[] | null> {
  const { stdout } = await edge.host.run(['ps', '-eo', 'pid,ppid,args'], { timeoutMs: 5_000 });
  const processes = stdout.split('\n').map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line));
  const flocks = processes.filter((match) => match?.[3]?.startsWith('flock -w 10 9'));
  for (const flock of flocks) {
    const { stdout: lockFile } = await edge.host.run(['readlink', `/proc/${flock?.[1]}/fd/9`], { timeoutMs: 5_000 });
    if (lockFile === `${edgeFiles(edge).config}.lock`) return [Number(flock?.[2]), Number(flock?.[1])];
  }
  return null;
}

async function isStopped(pid: number): Promise<boolean> {
  const stat = (await testPlace().host.readText(`/proc/${pid}/stat`)) ?? '';
  return stat.split(') ').at(-1)?.startsWith('T') ?? false;
}

async function signal(name: 'STOP' | 'CONT', pid: number): Promise<void> {
  await testPlace().host.run(['kill', '-s', name, String(pid)], { timeoutMs: 5_000 });
}

function waitFor<T>(read: () => Promise<T | null>): Promise<T> {
  const check = async () => (await read()) ?? Promise.reject(new Error('it never came'));
  return vi.waitFor(check, { timeout: 20_000, interval: 10 });
}

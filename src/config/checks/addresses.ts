import { addressCapacity, isEveryAddress, isSingle, networkAddress, readAddressRange } from '../../domain/addresses.js';
import type { AddressRange, BindAddress } from '../../domain/configuration.js';
import { defaults } from '../../domain/defaults.js';
import { colors } from '../../domain/edge-state.js';
import { bindsOf, processAddresses } from '../derived.js';
import { incusInstancesOf, isWrong, type LenientInput, processesOf, topologyOf } from '../lenient.js';
import { type Problem, wrong, wrongKey } from '../problem.js';

const path = ['instances', 'addresses'];

/** Addresses that instances are given. */
export function addressProblems(input: LenientInput): Problem[] {
  return [...processAddressProblems(input), ...incusAddressProblems(input)];
}

/** Of processes of the worker's machine, where the edge listens too. */
function processAddressProblems(input: LenientInput): Problem[] {
  const given = processesOf(input);
  if (!given || isWrong(given, 'addresses')) return [];
  const range = processAddresses(given.addresses);
  const binds = bindsOf(input.edge ?? {}).map(({ bind }) => bind);
  const takenPorts = Object.entries(input.components ?? {}).flatMap(([name, component]) => {
    const port = component?.port ?? defaults.componentPort;
    const isTaken = !isSingle(range) && binds.some((bind) => isEveryAddress(bind) && bind.port === port);
    return isTaken ? [{ name, port }] : [];
  });
  return [
    ...(isSingle(range) || range.address.startsWith('127.')
      ? []
      : [wrong(path, 'expected a range within 127.0.0.0/8, or one address')]),
    ...(range.address.startsWith('0.') ? [wrong(path, 'expected an address that instances can listen on')] : []),
    ...rangeProblems(input, range, capacityBeside(range, binds)),
    ...takenPorts.map(({ name, port }) =>
      wrong(['components', name, 'port'], `expected another port than ${port}: the edge takes it on every address`),
    ),
  ];
}

/** Of instances of Incus, where no name server knows them. */
function incusAddressProblems(input: LenientInput): Problem[] {
  const given = incusInstancesOf(input);
  if (!given || given.addresses === undefined) return [];
  const range = readAddressRange(given.addresses);
  return [
    ...('domain' in given ? [wrongKey(path, 'expected only without `domain`, by which the edge finds them')] : []),
    ...(isSingle(range) || /^(?:0|127)[.]/.test(range.address)
      ? [wrong(path, "expected a part of the instances' subnet such as 10.0.20.128/25")]
      : rangeProblems(input, range, addressCapacity(range))),
  ];
}

function rangeProblems(input: LenientInput, range: AddressRange, capacity: number): Problem[] {
  const { count, formula } = instanceCount(input);
  const first = networkAddress(range);
  return [
    ...(first === range.address
      ? []
      : [wrong(path, `expected ${first}/${range.prefixLength}, the beginning of that range`)]),
    ...(count > capacity ? [wrong(path, `expected room for ${count} instances${formula}, this has ${capacity}`)] : []),
  ];
}

function instanceCount(input: LenientInput): { count: number; formula: string } {
  const components = Object.values(input.components ?? {});
  if (topologyOf(input) === 'multi-instance') {
    return { count: components.flatMap((component) => component?.instances ?? []).length, formula: '' };
  }
  const count = Object.keys(input.environments ?? {}).length * components.length * colors.length;
  return { count, formula: ' (environments × components × 2 colors)' };
}

/** What the first bind address leaves, less one for each other that may be in the range. */
function capacityBeside(range: AddressRange, [first, ...others]: readonly BindAddress[]): number {
  const capacity = addressCapacity(range, first);
  const isBeside = (bind: BindAddress) =>
    isEveryAddress(bind) || networkAddress({ ...range, address: bind.address }) === networkAddress(range);
  return capacity - others.filter(isBeside).length;
}

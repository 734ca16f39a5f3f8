import { addressCapacity, isEveryAddress, isSingle, networkAddress } from '../../domain/addresses.js';
import type { AddressRange, BindAddress } from '../../domain/configuration.js';
import { defaults } from '../../domain/defaults.js';
import { colors } from '../../domain/edge-state.js';
import { bindsOf, readAddressRange } from '../derived.js';
import { isWrong, type LenientInput, processesOf, topologyOf } from '../lenient.js';
import { type Problem, wrong } from '../problem.js';

/** Addresses of instances that are processes of the worker's machine, where the edge listens too. */
export function addressProblems(input: LenientInput): Problem[] {
  const given = processesOf(input);
  if (!given || isWrong(given, 'addresses')) return [];
  const path = ['instances', 'addresses'];
  const range = readAddressRange(given.addresses);
  const binds = bindsOf(input.edge ?? {}).map(({ bind }) => bind);
  const takenPorts = Object.entries(input.components ?? {}).flatMap(([name, component]) => {
    const port = component?.port ?? defaults.componentPort;
    const isTaken = !isSingle(range) && binds.some((bind) => isEveryAddress(bind) && bind.port === port);
    return isTaken ? [{ name, port }] : [];
  });
  const { count, formula } = instanceCount(input);
  const capacity = capacityBeside(range, binds);
  return [
    ...(isSingle(range) || range.address.startsWith('127.')
      ? []
      : [wrong(path, 'expected a range within 127.0.0.0/8, or one address')]),
    ...(range.address.startsWith('0.') ? [wrong(path, 'expected an address that instances can listen on')] : []),
    ...(networkAddress(range) === range.address
      ? []
      : [wrong(path, `expected ${networkAddress(range)}/${range.prefixLength}, the beginning of that range`)]),
    ...(count > capacity ? [wrong(path, `expected room for ${count} instances${formula}, this has ${capacity}`)] : []),
    ...takenPorts.map(({ name, port }) =>
      wrong(['components', name, 'port'], `expected another port than ${port}: the edge takes it on every address`),
    ),
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
  const capacity = addressCapacity(range, first ?? { address: '', port: 0 });
  const isBeside = (bind: BindAddress) =>
    isEveryAddress(bind) || networkAddress({ ...range, address: bind.address }) === networkAddress(range);
  return capacity - others.filter(isBeside).length;
}

import type { InstanceDriver } from './driver.js';
import { incusDriver } from './incus.js';
import { processDriver } from './process-driver.js';
import type { Instance, InstanceStatus } from './record.js';

/** How an instance is run. */
export const driverOf = ({ incus }: Instance): InstanceDriver => (incus ? incusDriver : processDriver);

/** The record of an instance and what it amounts to. Throws `instance-record-damaged`, and what the driver throws. */
export const readInstance = (instance: Instance): Promise<InstanceStatus> => driverOf(instance).readInstance(instance);

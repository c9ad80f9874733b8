import type { PoolConfig } from './config.js';
import { types } from './types.js';

/** `pg.defaults`: what clients and pools have that are not told otherwise, and how values are read and written. */
export interface Defaults extends PoolConfig {
  /** True: int8 as numbers, which are rounded beyond 2^53. */
  parseInt8: boolean;
  /** True: a Date is sent in UTC. False: as the clock of this machine shows it, with its offset. */
  parseInputDatesAsUTC: boolean;
}

const asNumber = (text: string): number => parseInt(text, 10);

export const defaults: Defaults = {
  parseInputDatesAsUTC: false,
  get parseInt8(): boolean {
    return (types.getTypeParser(20, 'text') as unknown) === asNumber;
  },
  set parseInt8(isNumber: boolean) {
    types.setTypeParser(20, isNumber ? asNumber : String);
  },
};

/** The defaults of a configuration: those above are of all. */
export function configDefaults(): PoolConfig {
  const { parseInt8: _, parseInputDatesAsUTC: __, ...config } = defaults;
  return config;
}

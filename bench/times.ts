export async function timed<T>(run: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const begin = performance.now();
  const value = await run();
  return { ms: performance.now() - begin, value };
}

export const sorted = (values: readonly number[]): readonly number[] => [...values].sort((a, b) => a - b);
export const median = (values: readonly number[]): number => sorted(values)[Math.floor(values.length / 2)] ?? 0;

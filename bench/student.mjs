// Student's t: whether the mean of a few measurements differs from zero. Pure.

/**
 * Two-sided critical values at a level of 0.001 for 1 to 20 degrees of freedom (Student 1908; any table of the
 * t-distribution). With more, the last one is used, which is larger than needed.
 */
const CRITICAL = [
  636.619, 31.599, 12.924, 8.61, 6.869, 5.959, 5.408, 5.041, 4.781, 4.587, 4.437, 4.318, 4.221,
  4.14, 4.073, 4.015, 3.965, 3.922, 3.883, 3.85,
]; // prettier-ignore

/**
 * Mean of ratios (geometric), the interval that holds the true one with 99.9 %, and whether that interval excludes 1. Of
 * fewer than two ratios nothing is known: the interval is 0 to Infinity.
 */
export function meanRatio(ratios) {
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
  if (logs.length < 2) return { mean: Math.exp(mean), low: 0, high: Infinity, differs: false };
  const variance = logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (logs.length - 1);
  const critical = CRITICAL[Math.min(logs.length - 1, CRITICAL.length) - 1];
  const margin = critical * Math.sqrt(variance / logs.length);
  return {
    mean: Math.exp(mean),
    low: Math.exp(mean - margin),
    high: Math.exp(mean + margin),
    differs: Math.abs(mean) > margin,
  };
}

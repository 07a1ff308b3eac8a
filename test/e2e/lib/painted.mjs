// What a player's painted pictures tell: {at: ms since 1970, counter, clock}.

/** A picture that stands still for longer is a stall. */
export const stallMs = 1000;

/**
 * The times, within [from, to], in which no new picture was painted for longer
 * than stallMs.
 */
export function stalls(samples, from, to) {
  const found = [];
  let since = from;
  let last = null;
  const until = (at) => {
    if (at - since > stallMs) found.push({ after: Math.round(since - from), ms: Math.round(at - since) });
    since = at;
  };
  for (const { at, counter } of samples) {
    if (at < from || at > to || counter === last) continue;
    last = counter;
    until(at);
  }
  until(to);
  return found;
}

/** How often the counter went back, within [from, to]. */
export function stepsBack(samples, from, to) {
  const seen = samples.filter(({ at }) => at >= from && at <= to);
  return seen.filter((s, i) => i > 0 && s.counter < seen[i - 1].counter).length;
}

/** How far the counter went within [from, to]. */
export function advanced(samples, from, to) {
  const seen = samples.filter(({ at }) => at >= from && at <= to);
  return seen.length === 0 ? 0 : seen.at(-1).counter - seen[0].counter;
}

/** How old, in ms, the pictures were that were painted within [from, to]. */
export function glassToGlass(samples, from, to) {
  return samples.filter(({ at, clock }) => at >= from && at <= to && clock !== null).map(({ at, clock }) => (at - clock) % 2 ** 32);
}

/** The p-th percentile; NaN where there are no values. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))] ?? NaN;
}

/** The longest time, in ms, between the making of two consecutive pictures: the publisher's own stall. */
export function slowestMaking(samples, from, to) {
  const seen = samples.filter(({ at, clock }) => at >= from && at <= to && clock !== null);
  return Math.max(0, ...seen.map((s, i) => (i > 0 && s.counter === seen[i - 1].counter + 1 ? s.clock - seen[i - 1].clock : 0)));
}

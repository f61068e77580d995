/** A span of time as people say it: seconds below two minutes, minutes below two hours, then hours. Pure. */
export function inTime(ms: number): string {
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

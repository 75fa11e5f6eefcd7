export interface Point {
  readonly hours: number;
  readonly megabytes: number;
}

export interface Slope {
  readonly megabytesPerHour: number;
  /** Half of the 95 % interval around it: a slope that is less than this away from 0 says nothing. Infinite below three points. */
  readonly plusMinus: number;
  /** Share of the variance that the line explains. */
  readonly rSquared: number;
  readonly points: number;
}

/** Of a normal distribution, for 95 %. Of the t distribution it is 2.2 at a dozen points and nears this one above. */
const quantile = 1.96;

/** A straight line through the points by least squares. */
export function slopeOf(points: readonly Point[]): Slope {
  const count = points.length;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / count;
  const x = mean(points.map(({ hours }) => hours));
  const y = mean(points.map(({ megabytes }) => megabytes));
  let xx = 0;
  let xy = 0;
  let yy = 0;
  for (const { hours, megabytes } of points) {
    xx += (hours - x) ** 2;
    xy += (hours - x) * (megabytes - y);
    yy += (megabytes - y) ** 2;
  }
  const slope = xx === 0 ? 0 : xy / xx;
  const residual = Math.max(0, yy - slope * xy);
  const isFree = count > 2 && xx > 0;
  return {
    megabytesPerHour: slope,
    plusMinus: isFree ? quantile * Math.sqrt(residual / (count - 2) / xx) : Number.POSITIVE_INFINITY,
    rSquared: yy === 0 ? 0 : 1 - residual / yy,
    points: count,
  };
}

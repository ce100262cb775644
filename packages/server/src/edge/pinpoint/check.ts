import { badMember } from '../../platform/errors.ts';

/** Refuses a text outside `min` to `max` characters. `path` names the member (`$.Name`). */
export function checkLength(path: string, value: string | undefined, min: number, max: number): void {
  if (value === undefined) return;
  const length = [...value].length;
  if (length < min || length > max) throw badMember(path, `expected ${min} to ${max} characters`);
}

/** Refuses a number outside `min` to `max`. */
export function checkRange(path: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined) return;
  if (value < min || value > max) throw badMember(path, `expected a number from ${min} to ${max}`);
}

interface CampaignLimits {
  Daily?: number | undefined;
  MaximumDuration?: number | undefined;
  MessagesPerSecond?: number | undefined;
  Session?: number | undefined;
  Total?: number | undefined;
}

const maxCount = 0x7fffffff;

/** Limits of a campaign, or an application's defaults of them. Pinpoint's upper bounds are not imposed. */
export function checkCampaignLimits(path: string, limits: CampaignLimits | undefined): void {
  if (!limits) return;
  checkRange(`${path}.Daily`, limits.Daily, 0, maxCount);
  checkRange(`${path}.Total`, limits.Total, 0, maxCount);
  checkRange(`${path}.Session`, limits.Session, 0, maxCount);
  checkRange(`${path}.MessagesPerSecond`, limits.MessagesPerSecond, 1, maxCount);
  checkRange(`${path}.MaximumDuration`, limits.MaximumDuration, 60, maxCount);
}

const timeOfDay = /^([01]\d|2[0-3]):[0-5]\d$/;

/** Quiet time: both ends as `HH:MM`, or neither (members absent or empty), which switches it off. */
export function checkQuietTime(
  path: string,
  quietTime: { Start?: string | undefined; End?: string | undefined } | undefined,
): void {
  if (!quietTime || (!quietTime.Start && !quietTime.End)) return;
  for (const member of ['Start', 'End'] as const) {
    if (!timeOfDay.test(quietTime[member] ?? '')) {
      throw badMember(`${path}.${member}`, 'expected a time of day such as 22:30');
    }
  }
}

import { randomBytes } from '../../platform/ids.ts';

let pool: Buffer = Buffer.alloc(0);
let next = 0;

/** A whole number from 0 to 99, each equally likely: it decides holdout and treatment of campaigns. */
export function drawCohort(): number {
  for (;;) {
    if (next >= pool.length) {
      pool = randomBytes(1024);
      next = 0;
    }
    const byte = pool[next++]!;
    // 200 to 255 would make the low cohorts more likely.
    if (byte < 200) return byte % 100;
  }
}

import type { EventPayload } from '../audience/index.ts';

/** The event that says that somebody bought something, and its members (reference 8.3). */
export const purchaseType = '_monetization.purchase';
export const purchaseMembers = {
  currency: '_currency',
  itemPrice: '_item_price',
  quantity: '_quantity',
} as const;

/** Millionths: what an amount is rounded to. */
export const amountScale = 1_000_000;

/** A larger price, quantity or amount is a mistake, and the event no purchase. */
export const largestFigure = 1e12;

export interface Purchase {
  /** Three capitals (ISO 4217); `XXX`, "no currency", for anything else. */
  currency: string;
  /** Price times quantity in millionths, a whole number. */
  amount: bigint;
  /** Quantity in millionths. */
  units: bigint;
}

/**
 * What a purchase says. A missing price is 0, a missing quantity 1; refunds are negative ones. Whole millionths, so that
 * sums come out the same in any order.
 */
export function purchaseOf(payload: EventPayload): Purchase | undefined {
  const price = figure(payload.metrics, purchaseMembers.itemPrice, 0);
  const quantity = figure(payload.metrics, purchaseMembers.quantity, 1);
  const largest = Math.max(Math.abs(price), Math.abs(quantity), Math.abs(price * quantity));
  if (!(largest <= largestFigure)) return undefined;
  return {
    currency: currencyOf(payload.attributes),
    amount: BigInt(Math.floor(price * quantity * amountScale + 0.5)),
    units: BigInt(Math.floor(quantity * amountScale + 0.5)),
  };
}

function figure(metrics: Record<string, number> | undefined, name: string, absent: number): number {
  const value = metrics && Object.hasOwn(metrics, name) ? metrics[name] : undefined;
  return typeof value === 'number' ? value : absent;
}

function currencyOf(attributes: Record<string, string> | undefined): string {
  const name = purchaseMembers.currency;
  const value = attributes && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  return typeof value === 'string' && /^[A-Za-z]{3}$/.test(value) ? value.toUpperCase() : 'XXX';
}

/** `-12.5` of -12500000n: millionths as a decimal that PostgreSQL's numeric takes. */
export function decimalOf(millionths: bigint): string {
  const digits = (millionths < 0n ? -millionths : millionths).toString().padStart(7, '0');
  return `${millionths < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

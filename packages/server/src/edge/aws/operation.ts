import type * as Pinpoint from '@aws-sdk/client-pinpoint';
import type { Principal } from '../../accounts/index.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import type { Log } from '../../platform/log.ts';
import type { PublishableCall } from '../publishable/call.ts';
import type { Services } from './services.ts';

/** What every handler gets beside its input. The caller was authenticated and authorised before. */
export interface OperationContext {
  principal: Principal;
  /** Also the header `x-amzn-RequestId` and, in errors and message bodies, `RequestID`. */
  requestId: string;
  /** POSTRIDER_REGION and POSTRIDER_ACCOUNT_ID: parts of every ARN. */
  region: string;
  accountId: string;
  database: Database;
  clock: Clock;
  /** A log that names operation and request; few handlers write one. */
  log: () => Log;
  services: Services;
  /** Decoded; for members that the API's model does not know. */
  query: ReadonlyMap<string, readonly string[]>;
  /**
   * When the caller has a publishable key: what of the application it may touch. Operations that such keys may call
   * ask it for every endpoint.
   */
  publishable?: PublishableCall | undefined;
}

type PinpointCommands = {
  [Key in keyof typeof Pinpoint as Key extends `$${string}`
    ? never
    : Key extends `${infer Name}Command`
      ? Name
      : never]: (typeof Pinpoint)[Key] extends new (...input: never[]) => infer Command ? Command : never;
};

/** Names of all 122 operations, as the SDK's commands are called without `Command`. */
export type OperationName = keyof PinpointCommands;

type SdkInput<Name extends OperationName> = PinpointCommands[Name] extends { readonly input: infer Input }
  ? Input
  : never;
type SdkOutput<Name extends OperationName> = PinpointCommands[Name] extends {
  resolveMiddleware(...args: never[]): (...args: never[]) => Promise<{ output: infer Output }>;
}
  ? Output
  : never;

/** The SDK writes a required member as `string | undefined`; the engine has checked that it is there. */
export type Present<T> = T extends string | number | boolean | Date | Uint8Array | null | undefined
  ? T
  : T extends (infer Element)[]
    ? Present<Element>[]
    : {
        [Key in keyof T]: Record<never, never> extends Pick<T, Key>
          ? Present<T[Key]>
          : Present<Exclude<T[Key], undefined>>;
      };

/**
 * `XCommandInput` as it arrives in a handler: path, query and body members, types checked, enums known, required
 * members present, unknown members and nulls dropped. Maps have no prototype, so `__proto__` is an ordinary key of
 * them. Only in the maps named by `nullableMaps` (parse.ts: attributes and metrics of endpoints and users) a null
 * value stays null: it means *delete this one*.
 */
export type OperationInput<Name extends OperationName> = Present<SdkInput<Name>>;

/** `XCommandOutput` without `$metadata`, so with its body member: `{ApplicationResponse: {...}}`. Nothing for 204. */
export type OperationOutput<Name extends OperationName> = Omit<SdkOutput<Name>, '$metadata'>;

/**
 * One operation. It throws `CallerError` (platform/errors.ts) for what the caller can mend; anything else that it
 * throws is logged and answered 500 without details. It returns only after its commit.
 */
export type OperationHandler<Name extends OperationName> = (
  input: OperationInput<Name>,
  ctx: OperationContext,
) => Promise<OperationOutput<Name>>;

/**
 * The handlers of a family (`export const apps = {CreateApp, GetApp} satisfies OperationHandlers`), merged in
 * edge/pinpoint/operations.ts. What no family handles answers 501.
 */
export type OperationHandlers = { [Name in OperationName]?: OperationHandler<Name> };

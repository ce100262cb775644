/**
 * What start.ts makes once and handlers use. A room whose handler needs such a thing adds one line here
 * (`renderer: Renderer;`) and start.ts sets it; a member must be cheap to reach and safe to use from many requests
 * at once. What a handler can call as a plain function of a room (with `ctx.database`) does not belong here.
 */
// biome-ignore lint/suspicious/noEmptyInterface: the first member comes with the first family that needs one.
export interface Services {}

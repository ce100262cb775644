import { call, later } from './harness.ts';

export const byId = (items: { Id?: string }[], id: string) => items.find((item) => item.Id === id);

/** What an endpoint is written with; `change` replaces members. */
export const endpoint = (change: object = {}) => ({
  Address: 'ada@example.com',
  ChannelType: 'EMAIL',
  Attributes: { plan: ['pro', 'team'], constructor: ['c'] },
  Metrics: { age: 36.5 },
  Demographic: { Locale: 'de_DE', Timezone: 'Europe/Berlin' },
  Location: { City: 'Köln', Country: 'DEU', Latitude: 50.9, Longitude: 6.9 },
  User: { UserId: 'ada', UserAttributes: { tier: ['gold'] } },
  ...change,
});

/** After the kill the endpoint is found by its id and by its user. */
export function laterEndpoint(
  ApplicationId: string,
  expected: { Id: string; User: { UserId: string } },
): void {
  const { Id, User } = expected;
  later(
    `endpoint ${Id}`,
    expected,
    async () => (await call('GetEndpoint', { ApplicationId, EndpointId: Id })).EndpointResponse,
    async () =>
      byId(
        (await call('GetUserEndpoints', { ApplicationId, UserId: User.UserId })).EndpointsResponse.Item,
        Id,
      ),
  );
}
